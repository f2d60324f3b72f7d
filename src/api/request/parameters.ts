import { z } from 'zod'
import { plainSettings, ranges, type Settings } from '../../deployments/index.ts'
import { affinityOf, isolationOf } from '../answering/request.ts'
import type { RequestContext } from '../dialects/dialect.ts'
import { returnBoxes } from '../shapes/grounding.ts'
import { includeUsage } from '../shapes/included.ts'
import { jsonSchema } from './json-schema.ts'
import { pairsOf } from './pairs.ts'
import { formatsOf, mostTokens, selfHosted, unbounded } from './self-hosted.ts'
import { invalidValue, optional } from './validation.ts'

/** Strings that end an answer. All are looked for after each token, and as many of its last characters are held back. */
const stopText = z.string().max(1000)
export const stopTexts = z.array(stopText).max(16)
export const stopTextOrTexts = z.union([stopText, stopTexts])
/** As many as an object of a body may have: clients that hold an answer to words forbid thousands of tokens. */
const mostBiases = 10_000

/** One or several. Empty strings, which some clients send, are ignored. */
const stop = stopTextOrTexts.transform((given) => [given].flat().filter((text) => text !== ''))

const responseFormat = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text') }),
  // The schema is Fireworks' extension.
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

/** Parameters of chats and completions: OpenAI's, and those that Fireworks and Novita add. */
export const parameters = {
  stream: optional(z.boolean(), 'Stream the answer as it is generated.'),
  stream_options: optional(
    z.object({ include_usage: z.boolean().nullish() }),
    '`include_usage`: send usage in a chunk of its own. Otherwise the last chunk carries it.',
  ),
  max_tokens: optional(
    mostTokens,
    'Maximum number of tokens to generate. -1: to the end of the context. Default: the same; for completions under /v1, 16.',
  ),
  n: optional(z.int().min(1).max(128), 'Number of answers to generate. Default: 1.'),
  stop: optional(
    stop,
    'One or up to 16 strings of at most 1000 characters that end the answer. The answer does not include them.',
  ),
  temperature: optional(ranges.temperature, 'Sampling temperature. 0 always selects the most likely token.'),
  top_p: optional(ranges.topP, 'Sample from the most likely tokens whose probabilities add up to this.'),
  top_k: optional(
    z.int().min(unbounded, { error: 'must be at least 0' }),
    'Sample from this many of the most likely tokens. 0 or -1: no limit.',
  ),
  min_p: optional(ranges.minP, 'Minimum probability of a token, relative to that of the most likely token.'),
  typical_p: optional(
    ranges.typicalP,
    'Locally typical sampling: sample from the tokens closest to the expected information, up to this probability.',
  ),
  mirostat_target: optional(
    ranges.mirostatTarget,
    'Mirostat 2.0: target surprise of each token, used in place of top_p, top_k, min_p and typical_p. 0: off.',
  ),
  mirostat_lr: optional(ranges.mirostatRate, 'Learning rate of mirostat. Default: 0.1.'),
  repetition_penalty: optional(
    ranges.repetitionPenalty,
    'Penalty for tokens that have already appeared. 1: no penalty.',
  ),
  frequency_penalty: optional(ranges.frequencyPenalty, 'Penalty for each earlier appearance of a token.'),
  presence_penalty: optional(ranges.presencePenalty, 'Penalty for tokens that have already appeared, however often.'),
  seed: optional(z.int(), 'Seed for sampling. The same request with the same seed returns the same answer.'),
  logit_bias: optional(
    pairsOf(z.number().min(-100).max(100), {
      most: mostBiases,
      name: { pattern: /^\d+$/, error: 'must be a token id' },
    }),
    'Values added to the logits of tokens, by token id.',
  ),
  response_format: optional(
    responseFormat,
    'Required format of the answer: text, JSON, a JSON Schema, or a GBNF grammar.',
  ),
  ignore_eos: optional(z.boolean(), 'Continue after the end-of-text token.'),
  context_length_exceeded_behavior: optional(
    z.enum(['truncate', 'error']),
    'What to do if the prompt and max_tokens exceed the context: `truncate` lowers max_tokens, `error` refuses the request.',
  ),
  echo: optional(z.boolean(), 'Return the prompt before the answer.'),
  echo_last: optional(z.int().min(0), 'Return this many of the last prompt tokens before the answer.'),
  prompt_truncate_len: optional(
    z.int().min(0),
    'Maximum number of prompt tokens. The oldest turns are left out to meet it. 0: no limit. Chats only.',
  ),
  raw_output: optional(z.boolean(), 'Return the raw prompt and output of the model, control tokens included.'),
  return_token_ids: optional(z.boolean(), 'Return the ids of all tokens.'),
  return_boxes: returnBoxes,
  perf_metrics_in_response: optional(z.boolean(), 'Return performance metrics in the body.'),
  prompt_cache_key: optional(
    z.string(),
    'Requests with the same key go to the same engine, if several have the model.',
  ),
  prompt_cache_isolation_key: optional(z.string(), 'Share cached prompts only with requests that have the same key.'),
  prompt_cache_max_len: optional(z.int().min(0), 'Maximum number of cached prompt tokens to use. 0: no caching.'),
  user: optional(z.string(), 'Used as prompt_cache_key, if there is none.'),
  metadata: optional(z.record(z.string(), z.unknown()), 'Accepted, without effect.'),
  service_tier: optional(z.string(), 'Accepted, without effect.'),
  usage: includeUsage,
  dry_run: optional(z.boolean(), 'Count the prompt tokens without generating an answer.'),
  ...selfHosted,
}

type Parameters = z.output<z.ZodObject<typeof parameters>>

/** @param grammar that the answer must follow, by `formatOf` */
export function settingsOf(body: Parameters, grammar: Grammar, context: RequestContext): Settings {
  const { isolationKey, dialect } = context
  return {
    ...plainSettings,
    overflow: body.context_length_exceeded_behavior ?? dialect.defaults.overflow,
    n: body.n ?? 1,
    stop: body.stop ?? [],
    includeStop: body.include_stop_str_in_output ?? false,
    stopTokens: body.stop_token_ids ?? [],
    minTokens: body.min_tokens ?? 0,
    ignoreEos: body.ignore_eos ?? false,
    sampling: {
      temperature: body.temperature,
      topP: body.top_p,
      topK: body.top_k === unbounded ? 0 : body.top_k,
      minP: body.min_p,
      typicalP: body.typical_p,
      mirostat: body.mirostat_target ? { target: body.mirostat_target, rate: body.mirostat_lr ?? 0.1 } : null,
      repetitionPenalty: sameOf(
        ['repetition_penalty', body.repetition_penalty],
        ['repeat_penalty', body.repeat_penalty],
      ),
      frequencyPenalty: body.frequency_penalty,
      presencePenalty: body.presence_penalty,
      seed: body.seed == null ? null : body.seed >>> 0,
      logitBias: Object.entries(body.logit_bias ?? {}).map(([id, bias]) => ({ token: Number(id), bias })),
      grammar,
    },
    isolation: isolationOf(isolationKey, body.prompt_cache_isolation_key),
    affinity: affinityOf(body, context),
    cachePrompt: body.prompt_cache_max_len !== 0 && (body.cache_prompt ?? true),
    cachedMost: body.prompt_cache_max_len ?? null,
    echo: body.echo ? 'all' : (body.echo_last ?? null),
    wantsTokens: (body.raw_output || body.return_token_ids) ?? false,
    wantsBoxes: body.return_boxes ?? false,
  }
}

type Grammar = Settings['sampling']['grammar']

/** The format that the answer must have, and the parameter that asks for it. @throws OrielError if several do */
export function formatOf(body: Parameters): { param: string; grammar: Grammar } {
  const grammar = grammarOf(body)
  const [first, second] = [...(grammar === null ? [] : [{ param: 'response_format', grammar }]), ...formatsOf(body)]
  if (first !== undefined && second !== undefined)
    throw invalidValue(
      second.param,
      `${first.param} and ${second.param} both set the format of the answer: send one of them.`,
    )
  return first ?? { param: 'response_format', grammar: null }
}

function grammarOf({ response_format: format }: Parameters): Grammar {
  switch (format?.type) {
    case 'grammar':
      return { kind: 'gbnf', text: format.grammar }
    case 'json_object':
      return { kind: 'json_schema', schema: format.schema ?? { type: 'object' } }
    case 'json_schema':
      return {
        kind: 'json_schema',
        schema: format.json_schema.schema ?? { type: 'object' },
        strict: format.json_schema.strict ?? false,
      }
    default:
      return null
  }
}

type Named = [name: string, value: number | null | undefined]

/** The value of a parameter that has several names. @throws OrielError if two are present and differ */
function sameOf(...named: readonly Named[]): number | null {
  const [first, ...others] = named.filter(([, value]) => value != null)
  const other = others.find(([, value]) => value !== first?.[1])
  if (first !== undefined && other !== undefined)
    throw invalidValue(
      first[0],
      `${first[0]} is ${first[1]} and ${other[0]} is ${other[1]}, but they mean the same: send one of them.`,
    )
  return first?.[1] ?? null
}

/**
 * Tokens of the answer at most; null: to the end of the context.
 * @param byDefault if the request has no bound
 * @throws OrielError `invalid`
 */
export function maxTokensOf(
  body: Parameters & { max_completion_tokens?: number | null | undefined },
  byDefault: number | null,
): number | null {
  const { max_tokens, max_completion_tokens, n_predict } = body
  const named = Object.entries({ max_tokens, max_completion_tokens, n_predict })
  const most = sameOf(...named.filter(([, tokens]) => tokens !== unbounded))
  if (most === null) return named.some(([, tokens]) => tokens === unbounded) ? null : byDefault
  if ((body.min_tokens ?? 0) > most)
    throw invalidValue('min_tokens', `min_tokens is ${body.min_tokens}, and at most ${most} tokens are allowed.`)
  return most
}

/** Number of alternatives for each token; null: no log probabilities. @throws OrielError `invalid` */
export function topLogprobsOf({
  logprobs,
  top_logprobs: top,
}: {
  logprobs?: number | boolean | null | undefined
  top_logprobs?: number | null | undefined
}): number | null {
  if (typeof logprobs === 'number') return logprobs
  if (logprobs) return top ?? 0
  if (top != null && top > 0) throw invalidValue('top_logprobs', 'top_logprobs requires logprobs to be true.')
  return null
}
