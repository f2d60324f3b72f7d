import { z } from 'zod'
import { OrielError } from '../../errors.ts'
import type { RequestContext } from '../answer-route.ts'
import { plainSettings, type Settings } from '../answering/request.ts'

/** One or several; clients that have none send an empty one. */
const stop = z
  .union([z.string(), z.array(z.string()).max(16)])
  .transform((given) => [given].flat().filter((text) => text !== ''))

/** A JSON Schema, which the engine reads. */
export const jsonSchema = z.union([z.boolean(), z.record(z.string(), z.unknown())])

const responseFormat = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text') }),
  // Fireworks takes a schema here too.
  z.object({ type: z.literal('json_object'), schema: jsonSchema.nullish() }),
  z.object({
    type: z.literal('json_schema'),
    json_schema: z.object({ name: z.string().optional(), schema: jsonSchema.nullish(), strict: z.boolean().nullish() }),
  }),
  z.object({ type: z.literal('grammar'), grammar: z.string().min(1) }),
])

/** How to answer, in chats and completions alike: OpenAI's parameters and those that Fireworks and Novita add. */
export const parameters = {
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  max_tokens: z.int().min(1).nullish(),
  n: z.int().min(1).max(128).nullish(),
  stop: stop.nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(0).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  typical_p: z.number().gt(0).max(1).nullish(),
  repetition_penalty: z.number().gt(0).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  seed: z.int().nullish(),
  logit_bias: z
    .record(z.string().regex(/^\d+$/, { error: 'must be a token id' }), z.number().min(-100).max(100))
    .nullish(),
  response_format: responseFormat.nullish(),
  ignore_eos: z.boolean().nullish(),
  context_length_exceeded_behavior: z.enum(['truncate', 'error']).nullish(),
  echo: z.boolean().nullish(),
  echo_last: z.int().min(0).nullish(),
  prompt_truncate_len: z.int().min(1).nullish(),
  raw_output: z.boolean().nullish(),
  return_token_ids: z.boolean().nullish(),
  perf_metrics_in_response: z.boolean().nullish(),
  prompt_cache_key: z.string().nullish(),
  prompt_cache_isolation_key: z.string().nullish(),
  prompt_cache_max_len: z.int().min(0).nullish(),
  user: z.string().nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
  service_tier: z.string().nullish(),
  dry_run: z.boolean().nullish(),
}

type Parameters = z.output<z.ZodObject<typeof parameters>>

/** The parameters that mean the same in chats and completions. */
export function settingsOf(body: Parameters, { isolationKey, dialect }: RequestContext): Settings {
  return {
    ...plainSettings,
    maxTokens: body.max_tokens ?? null,
    // Fireworks lowers max_tokens to what fits; OpenAI refuses.
    overflow: body.context_length_exceeded_behavior ?? (dialect === 'fireworks' ? 'truncate' : 'error'),
    n: body.n ?? 1,
    stop: body.stop ?? [],
    ignoreEos: body.ignore_eos ?? false,
    sampling: {
      temperature: body.temperature,
      topP: body.top_p,
      topK: body.top_k,
      minP: body.min_p,
      typicalP: body.typical_p,
      repetitionPenalty: body.repetition_penalty,
      frequencyPenalty: body.frequency_penalty,
      presencePenalty: body.presence_penalty,
      seed: body.seed == null ? null : body.seed >>> 0,
      logitBias: Object.entries(body.logit_bias ?? {}).map(([id, bias]) => ({ token: Number(id), bias })),
      grammar: grammarOf(body),
    },
    isolation: [isolationKey, body.prompt_cache_isolation_key ?? ''],
    cachePrompt: body.prompt_cache_max_len !== 0,
    echo: body.echo ? 'all' : (body.echo_last ?? null),
    wantsTokens: (body.raw_output || body.return_token_ids) ?? false,
  }
}

function grammarOf({ response_format: format }: Parameters): Settings['sampling']['grammar'] {
  switch (format?.type) {
    case 'grammar':
      return { kind: 'gbnf', text: format.grammar }
    case 'json_object':
      return { kind: 'json_schema', schema: format.schema ?? { type: 'object' } }
    case 'json_schema':
      return { kind: 'json_schema', schema: format.json_schema.schema ?? { type: 'object' } }
    default:
      return null
  }
}

/** Two names for one bound. */
export function maxTokensOf(
  first: [name: string, value: number | null | undefined],
  second: typeof first,
): number | null {
  const [[firstName, a], [secondName, b]] = [first, second]
  if (a != null && b != null && a !== b)
    throw new OrielError(
      'invalid',
      `${firstName} is ${a} and ${secondName} is ${b}: they mean the same, so send one of them.`,
      { param: firstName, code: 'invalid_value' },
    )
  return a ?? b ?? null
}
