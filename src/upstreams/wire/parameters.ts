import type { Settings } from '../../deployments/index.ts'
import { cacheWishes, hashed } from './caching.ts'
import { notThere } from './refusal.ts'
import type { Variant } from './variants.ts'

export type Fields = Readonly<Record<string, unknown>>

interface Setting {
  /** Null and undefined: the ask leaves it open, or says what every API does by itself. */
  of(settings: Settings): unknown
  /** For errors. */
  readonly what: string
  /** The value at which it does nothing: an API without the setting does the same. */
  readonly neutral?: number
}

/** Settings that are one parameter, if an API has it. */
const settings = {
  n: { of: ({ n }) => (n === 1 ? null : n), what: 'second answer to the same request' },
  seed: { of: ({ sampling }) => sampling.seed, what: 'seed' },
  topK: { of: ({ sampling }) => sampling.topK, what: 'top-k sampling', neutral: 0 },
  minP: { of: ({ sampling }) => sampling.minP, what: 'min-p sampling', neutral: 0 },
  typicalP: { of: ({ sampling }) => sampling.typicalP, what: 'typical sampling', neutral: 1 },
  repetitionPenalty: { of: ({ sampling }) => sampling.repetitionPenalty, what: 'repetition penalty', neutral: 1 },
  frequencyPenalty: { of: ({ sampling }) => sampling.frequencyPenalty, what: 'frequency penalty', neutral: 0 },
  presencePenalty: { of: ({ sampling }) => sampling.presencePenalty, what: 'presence penalty', neutral: 0 },
  minTokens: { of: ({ minTokens }) => minTokens || null, what: 'least number of tokens' },
  ignoreEos: { of: ({ ignoreEos }) => ignoreEos || null, what: 'answers beyond their end' },
  stopTokens: {
    of: ({ stopTokens }) => (stopTokens.length > 0 ? stopTokens : null),
    what: 'tokens that end an answer',
  },
  includeStop: {
    of: ({ includeStop, stop }) => (includeStop && stop.length > 0) || null,
    what: 'answers with the text that ended them',
  },
} satisfies Record<string, Setting>

export type SettingName = keyof typeof settings

/** @param names of the settings that an API has @throws OrielError about the first setting that it does not have */
export function named(asked: Settings, names: Readonly<Partial<Record<SettingName, string>>>): Fields {
  const fields: Record<string, unknown> = {}
  for (const [setting, { of, what, neutral }] of Object.entries(settings) as [SettingName, Setting][]) {
    const value = of(asked)
    const name = names[setting]
    if (value == null) continue
    if (name !== undefined) fields[name] = value
    else if (value !== neutral) throw notThere(setting, what)
  }
  return fields
}

/** What only an engine in this server does. @throws OrielError */
export function refuseInner({ echo, wantsTokens, promptLogprobs, wantsBoxes }: Settings): void {
  if (echo !== null) throw notThere('echo', 'echo of the prompt')
  if (wantsTokens) throw notThere('wantsTokens', 'ids of tokens')
  if (promptLogprobs) throw notThere('promptLogprobs', 'log probabilities of prompts')
  if (wantsBoxes) throw notThere('boxes', 'known form of boxes')
}

/** Settings in a variant of OpenAI's API. @throws OrielError about the first that it cannot express */
export function parametersOf(asked: Settings, variant: Variant): Fields {
  refuseInner(asked)
  const { maxTokens, overflow, stop, sampling } = asked
  const { temperature, topP, mirostat, logitBias = [] } = sampling
  if (mirostat != null && variant.mirostat === undefined) throw notThere('mirostat', 'mirostat')
  if (logitBias !== null && logitBias.length > 0 && !variant.logitBias) throw notThere('logitBias', 'biases of tokens')
  return {
    ...(maxTokens === null ? {} : { [variant.maxTokens]: maxTokens }),
    ...(variant.truncates ? { context_length_exceeded_behavior: overflow } : {}),
    ...(stop.length === 0 ? {} : { stop }),
    ...(temperature == null ? {} : { temperature }),
    ...(topP == null ? {} : { top_p: topP }),
    ...(mirostat == null ? {} : variant.mirostat?.(mirostat.target, mirostat.rate)),
    ...(logitBias === null || logitBias.length === 0
      ? {}
      : { logit_bias: Object.fromEntries(logitBias.map(({ token, bias }) => [token, bias])) }),
    ...named(asked, variant.names),
    ...(sampling.topK === 0 && variant.names.topK !== undefined ? { [variant.names.topK]: variant.noTopK } : {}),
    ...formatOf(sampling.grammar ?? null, variant),
    ...variant.caching(cacheWishes(asked)),
    ...(asked.affinity === null || !variant.affinity ? {} : { prompt_cache_key: hashed(asked.affinity) }),
  }
}

type Grammar = NonNullable<Settings['sampling']['grammar']>

function formatOf(grammar: Grammar | null, { grammar: forms, jsonObject }: Variant): Fields {
  switch (grammar?.kind) {
    case undefined:
      return {}
    case 'json_schema': {
      if (jsonObject && isAnyObject(grammar.schema)) return { response_format: { type: 'json_object' } }
      const { schema, strict } = grammar
      const named = { name: 'answer', schema, ...(strict ? { strict } : {}) }
      return { response_format: { type: 'json_schema', json_schema: named } }
    }
    case 'gbnf':
      if (forms === undefined) throw notThere('grammar', 'grammars')
      return forms.gbnf(grammar.text)
    case 'regex':
      if (forms?.regex === undefined) throw notThere('grammar', 'regular expressions for answers')
      return forms.regex(grammar.pattern)
    default:
      throw notThere('grammar', 'composed grammars')
  }
}

/** `{"type": "object"}`, the schema of requests that ask for JSON without one. */
const isAnyObject = (schema: unknown): boolean =>
  isRecord(schema) && Object.keys(schema).length === 1 && schema.type === 'object'

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
