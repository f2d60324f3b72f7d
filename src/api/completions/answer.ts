import { z } from 'zod'
import { legacyLogprobs } from '../shapes/logprobs.ts'
import { perfMetrics } from '../shapes/performance.ts'
import { rawOutput, tokenIds } from '../shapes/raw-output.ts'
import { finishReason, heading, usage } from '../shapes/usage.ts'

/** A whole answer, or one event of a stream. Optional fields appear if the request asks for them. */
export const textCompletion = z.strictObject({
  ...heading,
  object: z.literal('text_completion'),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      text: z.string(),
      logprobs: legacyLogprobs.nullable(),
      finish_reason: finishReason.nullable(),
      raw_output: rawOutput.optional(),
      token_ids: z.array(z.int()).optional(),
      prompt_token_ids: tokenIds.optional(),
    }),
  ),
  usage: usage.nullable().optional().describe('In the last chunk of a stream.'),
  perf_metrics: perfMetrics.optional(),
})
