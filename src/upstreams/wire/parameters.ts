import type { Settings } from '../../deployments/index.ts'
import { cacheWishes, hashed } from './caching.ts'
import type { Fields } from './fields.ts'
import { named, refuseInner } from './named.ts'
import { notThere } from './refusal.ts'
import type { Variant } from './variants.ts'

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
