import type { Settings } from '../../deployments/index.ts'
import type { Fields } from './fields.ts'
import { notThere } from './refusal.ts'

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
