import type { Config } from '../config.ts'

/** The prices of a model in micro-units (millionths of the currency), as integers. */
export interface ModelPrices {
  /** For a million tokens. */
  readonly input: number
  readonly cachedInput: number
  readonly output: number
  /** The least price of one image. */
  readonly image: number
}

/** What a request is charged for. */
export interface Charged {
  /** All tokens of the prompt, cached ones and those of images included. */
  readonly promptTokens: number
  readonly imageTokens: number
  readonly cachedTokens: number
  readonly completionTokens: number
  readonly images: number
}

const million = 1_000_000n

/**
 * The cost of a request in micro-units: each token by its price, and what images lack to their least price. The sum is
 * exact, and is rounded once, to the nearest micro-unit, halves up.
 */
export function costOf(usage: Charged, prices: ModelPrices): number {
  const cached = Math.min(usage.cachedTokens, usage.promptTokens)
  const tokens =
    product(usage.promptTokens - cached, prices.input) +
    product(cached, prices.cachedInput) +
    product(usage.completionTokens, prices.output)
  const lacking = product(usage.images, prices.image) * million - product(usage.imageTokens, prices.input)
  return Number((tokens + (lacking > 0n ? lacking : 0n) + million / 2n) / million)
}

const product = (a: number, b: number): bigint => BigInt(a) * BigInt(b)

/** The prices of each model: its own, or those of all others. */
export function priceList({ prices, accounts }: Pick<Config, 'prices' | 'accounts'>): (model: string) => ModelPrices {
  const inMicros = (given: Config['accounts']['prices'][string]): ModelPrices => {
    const input = micros(given.input)
    return {
      input,
      cachedInput: given.cachedInput === null ? Math.round(input / 2) : micros(given.cachedInput),
      output: micros(given.output),
      image: micros(given.image),
    }
  }
  const others = inMicros({ ...prices, cachedInput: null, image: 0 })
  const own = new Map(Object.entries(accounts.prices).map(([model, given]) => [model, inMicros(given)]))
  return (model) => own.get(model) ?? others
}

/** An amount of the currency that micro-units make. */
export const amountOf = (micros: number): number => micros / 1_000_000

/** Micro-units of an amount of the currency. */
export const micros = (amount: number): number => Math.round(amount * 1_000_000)
