import type { AccountsConfig } from '../../config.ts'

/** What is limited in any 60 seconds. Arrays of limits and amounts are in this order. */
export const kinds = [
  'requests',
  'tokens',
  'promptTokens',
  'cacheAdjustedPromptTokens',
  'generatedTokens',
  'images',
] as const
export type Kind = (typeof kinds)[number]

/** The limit of each kind, or an infinity. */
export type Limits = readonly number[]
/** What a request takes of each kind. */
export type Amounts = readonly number[]

type Tier = AccountsConfig['tiers'][string]

/** The limits of an account for one model. */
export interface ModelLimits {
  readonly limits: Limits
  /** Requests at the same time; an infinity if there is no limit. */
  readonly concurrent: number
}

/** What a request will take at most, as far as is known before it runs. */
export interface Estimate {
  readonly promptTokens: number
  readonly generatedTokens: number
  readonly images: number
}

/** What a request took. */
export interface Taken extends Estimate {
  /** Of the tokens of the prompt: those that were in the KV cache. */
  readonly cachedTokens: number
}

export const nothing: Amounts = kinds.map(() => 0)

export function limitsOf(tier: Tier, model: string): ModelLimits {
  const given = (Object.hasOwn(tier.models, model) ? tier.models[model] : undefined) ?? tier
  return {
    limits: kinds.map((kind) => given[kind] ?? Number.POSITIVE_INFINITY),
    concurrent: given.concurrentRequests ?? Number.POSITIVE_INFINITY,
  }
}

export const amountsOf = ({
  promptTokens,
  generatedTokens,
  images,
  cachedTokens = 0,
}: Estimate & Partial<Taken>): Amounts => {
  const adjusted = Math.max(0, promptTokens - cachedTokens)
  return [1, promptTokens + generatedTokens, promptTokens, adjusted, generatedTokens, images].map(Math.round)
}
