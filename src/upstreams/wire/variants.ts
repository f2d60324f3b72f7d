import type { ChatPrompt } from '../../deployments/index.ts'
import { cacheSalt, fireworksCache, type WritesCache, wholeCache } from './caching.ts'
import type { Fields } from './fields.ts'
import type { SettingName } from './named.ts'
import { notThere } from './refusal.ts'

/** What of OpenAI's API a server has beside the plain chat, and what it calls what OpenAI does not have. */
export interface Variant {
  readonly maxTokens: 'max_tokens' | 'max_completion_tokens'
  /** Its names of further settings. It has no others. */
  readonly names: Readonly<Partial<Record<SettingName, string>>>
  /** The value of top-k that is no limit. */
  readonly noTopK: 0 | -1
  readonly mirostat?: (target: number, rate: number) => Fields
  /** Formats that an answer may be held to, beside JSON Schemas. */
  readonly grammar?: { readonly gbnf: (text: string) => Fields; readonly regex?: (pattern: string) => Fields }
  /** Whether any JSON object is a format of its own. */
  readonly jsonObject: boolean
  readonly caching: WritesCache
  /** Whether requests with the same `prompt_cache_key` are sent to the same engine. */
  readonly affinity: boolean
  readonly logitBias: boolean
  /** The least number of alternatives for which it gives log probabilities. Null: it gives none. */
  readonly logprobsFrom: number | null
  /** Whether it can give them with tools, and stream. */
  readonly logprobsWithTools: boolean
  /** How variables of a chat template become parameters. */
  readonly thinking: (variables: ChatPrompt['variables']) => Fields
  /** The fields of past thoughts. None: it takes none, as most templates leave them out. */
  readonly pastThoughts: readonly ('reasoning_content' | 'reasoning')[]
  /** Whether thoughts may come within the text, in their tags. */
  readonly tagsThoughts: boolean
  readonly toolChoice: boolean
  readonly parallelCalls: boolean
  /** What makes it continue the last message. Null: it cannot. */
  readonly continues: Fields | null
  /** Whether the oldest turns are dropped by `prompt_truncate_len`, and tokens of the answer lowered to what fits. */
  readonly truncates: boolean
  /** Whether images have a `detail`. */
  readonly detail: boolean
  readonly bounds: 'request' | 'image' | null
  readonly audio: 'input_audio' | 'audio_url'
  /** Plain prompts: as they are, of what parts, and what lets an answer go to the end of the context. Null: nothing does. */
  readonly plain: {
    readonly tokens: boolean
    readonly mixed: boolean
    readonly images: boolean
    readonly unlimited: Fields | null
  } | null
  /** What makes it tell usage with each part of a stream. */
  readonly usage: Fields
}

const streamUsage = { stream_options: { include_usage: true } }
const liveUsage = { stream_options: { include_usage: true, continuous_usage_stats: true } }

/** As vLLM has it: all variables go into the template. */
function inTemplate({ reasoning_effort: effort, ...variables }: ChatPrompt['variables']): Fields {
  const kwargs =
    typeof effort === 'string' || effort === undefined ? variables : { ...variables, reasoning_effort: effort }
  return {
    ...(typeof effort === 'string' ? { reasoning_effort: effort } : {}),
    ...(Object.keys(kwargs).length === 0 ? {} : { chat_template_kwargs: kwargs }),
  }
}

/** As OpenAI has it: thoughts have an effort, which may be none. */
function byEffort({ reasoning_effort: effort, enable_thinking: thinks, ...others }: ChatPrompt['variables']): Fields {
  refuseVariables(others)
  const wanted = thinks === false ? 'none' : (effort ?? (thinks === true ? 'medium' : undefined))
  return wanted === undefined ? {} : { reasoning_effort: wanted }
}

/** Thoughts can only be turned on and off. */
function bySwitch({ reasoning_effort: effort, enable_thinking: thinks, ...others }: ChatPrompt['variables']): Fields {
  refuseVariables(others)
  if (effort !== undefined && effort !== 'none') throw notThere('variables.reasoning_effort', 'effort of thoughts')
  const on = thinks ?? (effort === 'none' ? false : undefined)
  return on === undefined ? {} : { enable_thinking: on }
}

function refuseVariables(others: ChatPrompt['variables']): void {
  const [name] = Object.keys(others)
  if (name !== undefined) throw notThere(`variables.${name}`, 'variables of a chat template')
}

const penalties = { frequencyPenalty: 'frequency_penalty', presencePenalty: 'presence_penalty' } as const
const usual = { n: 'n', seed: 'seed', ...penalties } as const
const engineNames = {
  ...usual,
  topK: 'top_k',
  minP: 'min_p',
  repetitionPenalty: 'repetition_penalty',
  ignoreEos: 'ignore_eos',
  minTokens: 'min_tokens',
  stopTokens: 'stop_token_ids',
} as const

const plainText = { tokens: false, mixed: false, images: false, unlimited: {} }

const openai: Variant = {
  maxTokens: 'max_completion_tokens',
  names: usual,
  noTopK: 0,
  jsonObject: true,
  caching: wholeCache,
  affinity: true,
  logitBias: true,
  logprobsFrom: 0,
  logprobsWithTools: true,
  thinking: byEffort,
  pastThoughts: [],
  tagsThoughts: false,
  toolChoice: true,
  parallelCalls: true,
  continues: null,
  truncates: false,
  detail: true,
  bounds: null,
  audio: 'input_audio',
  // Without a limit it writes 16 tokens.
  plain: { ...plainText, tokens: true, unlimited: null },
  usage: streamUsage,
}

const vllm: Variant = {
  ...openai,
  maxTokens: 'max_tokens',
  names: { ...engineNames, includeStop: 'include_stop_str_in_output' },
  grammar: {
    gbnf: (grammar) => ({ structured_outputs: { grammar } }),
    regex: (regex) => ({ structured_outputs: { regex } }),
  },
  caching: cacheSalt,
  affinity: false,
  thinking: inTemplate,
  // It reads the first or the second, by its version.
  pastThoughts: ['reasoning', 'reasoning_content'],
  tagsThoughts: true,
  continues: { continue_final_message: true, add_generation_prompt: false },
  detail: false,
  bounds: 'request',
  plain: { ...plainText, tokens: true, unlimited: { max_tokens: null } },
  usage: liveUsage,
}

/** The APIs that are OpenAI's with differences. */
export const variants = {
  openai,

  fireworks: {
    ...openai,
    maxTokens: 'max_tokens',
    names: {
      ...usual,
      topK: 'top_k',
      minP: 'min_p',
      typicalP: 'typical_p',
      repetitionPenalty: 'repetition_penalty',
      ignoreEos: 'ignore_eos',
    },
    mirostat: (target, rate) => ({ mirostat_target: target, mirostat_lr: rate }),
    grammar: { gbnf: (grammar) => ({ response_format: { type: 'grammar', grammar } }) },
    caching: fireworksCache,
    pastThoughts: ['reasoning_content'],
    tagsThoughts: true,
    truncates: true,
    audio: 'audio_url',
    plain: { ...plainText, tokens: true, images: true },
  },

  novita: {
    ...openai,
    maxTokens: 'max_tokens',
    names: { ...usual, topK: 'top_k', minP: 'min_p', repetitionPenalty: 'repetition_penalty' },
    affinity: false,
    thinking: bySwitch,
    pastThoughts: ['reasoning_content'],
    tagsThoughts: true,
    parallelCalls: false,
    plain: plainText,
  },

  vllm,

  sglang: {
    ...vllm,
    names: { ...engineNames, includeStop: 'no_stop_trim' },
    pastThoughts: ['reasoning_content'],
    plain: { ...plainText, tokens: true, unlimited: null },
    grammar: { gbnf: (ebnf) => ({ ebnf }), regex: (regex) => ({ regex }) },
    noTopK: -1,
    continues: { continue_final_message: true },
    detail: true,
    bounds: null,
    audio: 'audio_url',
  },

  'llama-server': {
    ...openai,
    maxTokens: 'max_tokens',
    names: {
      ...usual,
      topK: 'top_k',
      minP: 'min_p',
      typicalP: 'typical_p',
      repetitionPenalty: 'repeat_penalty',
      ignoreEos: 'ignore_eos',
    },
    mirostat: (target, rate) => ({ mirostat: 2, mirostat_tau: target, mirostat_eta: rate }),
    grammar: { gbnf: (grammar) => ({ grammar }) },
    caching: ({ off, ...rest }) => ({
      ...wholeCache({ ...rest, off: false }),
      ...(off ? { cache_prompt: false } : {}),
    }),
    affinity: false,
    logprobsFrom: 1,
    logprobsWithTools: false,
    thinking: inTemplate,
    pastThoughts: ['reasoning_content'],
    tagsThoughts: true,
    continues: { continue_final_message: true, add_generation_prompt: false },
    detail: false,
    plain: { ...plainText, tokens: true, mixed: true },
    usage: { ...streamUsage, timings_per_token: true },
  },

  ollama: {
    ...openai,
    maxTokens: 'max_tokens',
    names: { seed: 'seed', ...penalties },
    affinity: false,
    logitBias: false,
    pastThoughts: ['reasoning'],
    tagsThoughts: true,
    toolChoice: false,
    parallelCalls: false,
    detail: false,
    // It lays a plain prompt out as a chat.
    plain: null,
  },

  'lm-studio': {
    ...openai,
    maxTokens: 'max_tokens',
    names: { seed: 'seed', ...penalties, topK: 'top_k', repetitionPenalty: 'repeat_penalty' },
    jsonObject: false,
    affinity: false,
    logprobsFrom: null,
    pastThoughts: ['reasoning_content'],
    tagsThoughts: true,
    parallelCalls: false,
    detail: false,
    plain: plainText,
  },

  oriel: {
    ...vllm,
    names: { ...vllm.names, typicalP: 'typical_p' },
    mirostat: (target, rate) => ({ mirostat_target: target, mirostat_lr: rate }),
    caching: fireworksCache,
    affinity: true,
    tagsThoughts: false,
    truncates: true,
    detail: true,
    bounds: 'image',
    pastThoughts: ['reasoning_content'],
    plain: { ...plainText, tokens: true, images: true, unlimited: { max_tokens: -1 } },
    usage: streamUsage,
  },
} satisfies Record<string, Variant>
