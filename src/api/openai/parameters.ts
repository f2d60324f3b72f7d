import { z } from 'zod'
import { OrielError } from '../../errors.ts'
import type { RequestContext } from '../answer-route.ts'
import { isolationOf, plainSettings, type Settings } from '../answering/request.ts'

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
    json_schema: z.object({
      name: z.string().optional(),
      schema: jsonSchema.nullish(),
      strict: z.boolean().nullish(),
    }),
  }),
  z.object({ type: z.literal('grammar'), grammar: z.string().min(1) }),
])

/** How to answer, in chats and completions alike: OpenAI's parameters and those that Fireworks and Novita add. */
export const parameters = {
  stream: z.boolean().nullish().describe('Answer in pieces, as they are made.'),
  stream_options: z
    .object({ include_usage: z.boolean().nullish() })
    .nullish()
    .describe('`include_usage`: usage in a chunk of its own; without it, usage is in the last chunk.'),
  max_tokens: z
    .int()
    .min(1)
    .nullish()
    .describe('Most tokens of an answer. Without it: to the end of the context (completions under /v1: 16).'),
  n: z.int().min(1).max(128).nullish().describe('Answers to make.'),
  stop: stop.nullish().describe('One text or several that end the answer; they are not part of it.'),
  temperature: z.number().min(0).max(2).nullish().describe('0 always takes the likeliest token.'),
  top_p: z.number().min(0).max(1).nullish().describe('Only the likeliest tokens that together have this probability.'),
  top_k: z.int().min(0).nullish().describe('Only so many of the likeliest tokens; 0: all.'),
  min_p: z
    .number()
    .min(0)
    .max(1)
    .nullish()
    .describe('Only tokens that are at least this fraction as likely as the likeliest.'),
  typical_p: z.number().gt(0).max(1).nullish().describe('Only tokens about as likely as is typical.'),
  mirostat_target: z
    .number()
    .min(0)
    .max(100)
    .nullish()
    .describe('Keep the surprise of the tokens near this, in place of the bounds above; 0: off.'),
  mirostat_lr: z.number().gt(0).max(1).nullish().describe('How fast mirostat learns; 0.1 unless told.'),
  repetition_penalty: z
    .number()
    .gt(0)
    .max(2)
    .nullish()
    .describe('Divides the chances of tokens that were there already; 1: none.'),
  frequency_penalty: z
    .number()
    .min(-2)
    .max(2)
    .nullish()
    .describe('Lowers the chances of tokens by how often they were there.'),
  presence_penalty: z.number().min(-2).max(2).nullish().describe('Lowers the chances of tokens that were there.'),
  seed: z.int().nullish().describe('The same request with the same seed has the same answer.'),
  logit_bias: z
    .record(z.string().regex(/^\d+$/, { error: 'must be a token id' }), z.number().min(-100).max(100))
    .nullish()
    .describe('Added to the logits of tokens, by their ids.'),
  response_format: responseFormat
    .nullish()
    .describe('What the answer is held to: text, JSON, a JSON Schema, or a grammar in GBNF.'),
  ignore_eos: z.boolean().nullish().describe('Go on when the model would end.'),
  context_length_exceeded_behavior: z
    .enum(['truncate', 'error'])
    .nullish()
    .describe('What to do when prompt and max_tokens exceed the context: lower max_tokens, or refuse.'),
  echo: z.boolean().nullish().describe('Begin the answer with the prompt.'),
  echo_last: z.int().min(0).nullish().describe('Begin the answer with so many last tokens of the prompt.'),
  prompt_truncate_len: z
    .int()
    .min(1)
    .nullish()
    .describe('Leave the oldest turns out until the prompt has no more tokens than this. Chats only.'),
  raw_output: z.boolean().nullish().describe('Tell what the model read and wrote before anything was made of it.'),
  return_token_ids: z.boolean().nullish().describe('Tell the ids of all tokens.'),
  perf_metrics_in_response: z.boolean().nullish().describe('Tell times in the body too.'),
  prompt_cache_key: z.string().nullish().describe('Accepted; there is one cache for all.'),
  prompt_cache_isolation_key: z.string().nullish().describe('Share cached prompts only with requests of the same key.'),
  prompt_cache_max_len: z
    .int()
    .min(0)
    .nullish()
    .describe('Tokens of a cached prompt that may be used, at most; 0: none.'),
  user: z.string().nullish().describe('Accepted, without effect.'),
  metadata: z.record(z.string(), z.unknown()).nullish().describe('Accepted, without effect.'),
  service_tier: z.string().nullish().describe('Accepted, without effect.'),
  dry_run: z.boolean().nullish().describe('Count the prompt, and make no answer.'),
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
      mirostat: body.mirostat_target ? { target: body.mirostat_target, rate: body.mirostat_lr ?? 0.1 } : null,
      repetitionPenalty: body.repetition_penalty,
      frequencyPenalty: body.frequency_penalty,
      presencePenalty: body.presence_penalty,
      seed: body.seed == null ? null : body.seed >>> 0,
      logitBias: Object.entries(body.logit_bias ?? {}).map(([id, bias]) => ({ token: Number(id), bias })),
      grammar: grammarOf(body),
    },
    isolation: isolationOf(isolationKey, body.prompt_cache_isolation_key),
    cachePrompt: body.prompt_cache_max_len !== 0,
    cachedMost: body.prompt_cache_max_len ?? null,
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

/** Rivals of each token that are told of; null: no log probabilities are. One number is both switch and count. */
export function topLogprobsOf({
  logprobs,
  top_logprobs: top,
}: {
  logprobs?: number | boolean | null | undefined
  top_logprobs?: number | null | undefined
}): number | null {
  if (typeof logprobs === 'number') return logprobs
  if (logprobs) return top ?? 0
  if (top != null && top > 0)
    throw new OrielError('invalid', 'top_logprobs needs logprobs to be true.', {
      param: 'top_logprobs',
      code: 'invalid_value',
    })
  return null
}
