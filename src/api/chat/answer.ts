import { z } from 'zod'
import { chatLogprobs, legacyLogprobs } from '../shapes/logprobs.ts'
import { perfMetrics } from '../shapes/performance.ts'
import { rawOutput, tokenIds } from '../shapes/raw-output.ts'
import { finishReason, heading, usage } from '../shapes/usage.ts'

/** A whole answer. Optional fields appear if the request asks for them, or if the model calls or thinks. */
export const chatCompletion = z.strictObject({
  ...heading,
  object: z.literal('chat.completion'),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      message: z.strictObject({
        role: z.literal('assistant'),
        content: z.string().nullable(),
        refusal: z.null(),
        reasoning_content: z.string().optional(),
        tool_calls: z
          .array(
            z.strictObject({
              id: z.string(),
              type: z.literal('function'),
              function: z.strictObject({ name: z.string(), arguments: z.string().describe('JSON.') }),
            }),
          )
          .optional(),
      }),
      logprobs: z.union([chatLogprobs, legacyLogprobs]).nullable(),
      finish_reason: finishReason,
      raw_output: rawOutput.optional(),
      token_ids: z.array(z.int()).optional(),
    }),
  ),
  usage,
  prompt_token_ids: tokenIds.optional(),
  perf_metrics: perfMetrics.optional(),
})

/** One event of a stream. */
export const chatChunk = z.strictObject({
  ...heading,
  object: z.literal('chat.completion.chunk'),
  choices: z.array(
    z.strictObject({
      index: z.int(),
      delta: z.strictObject({
        role: z.literal('assistant').optional(),
        content: z.string().optional(),
        reasoning_content: z.string().optional(),
        tool_calls: z
          .array(
            z.strictObject({
              index: z.int(),
              id: z.string().optional(),
              type: z.literal('function').optional(),
              function: z.strictObject({ name: z.string().optional(), arguments: z.string() }),
            }),
          )
          .optional(),
      }),
      logprobs: z.union([chatLogprobs, legacyLogprobs]).nullable(),
      finish_reason: finishReason.nullable(),
      raw_output: rawOutput.optional(),
      token_ids: z.array(z.int()).optional(),
    }),
  ),
  usage: usage.nullable().optional().describe('In the last chunk.'),
  prompt_token_ids: tokenIds.optional(),
  perf_metrics: perfMetrics.optional(),
})
