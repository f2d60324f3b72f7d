import { type AllowedTokens, eachAllowed } from './grammar/matcher.ts'
import type { Chooser, SamplerSettings } from './sampler.ts'

/** Number of the likeliest tokens to try under a grammar. */
const mostTried = 64

type Changes = Pick<SamplerSettings, 'logitBias' | 'repetitionPenalty' | 'frequencyPenalty' | 'presencePenalty'>

/**
 * Chooses the likeliest token; of equal ones, the first. llama.cpp's sampler makes a list of the whole vocabulary for each
 * token, which takes several times as long.
 */
export class Greedy implements Chooser {
  readonly draws = false
  readonly #changes: Changes
  readonly #penalizes: boolean
  /** How often the answer has a token. */
  readonly #counts = new Map<number, number>()

  constructor(changes: Changes) {
    this.#changes = changes
    this.#penalizes = changes.repetitionPenalty !== 1 || changes.frequencyPenalty !== 0 || changes.presencePenalty !== 0
  }

  choose(logits: Float32Array): number | null {
    return this.#within(logits, () => {
      const token = likeliest(logits)
      return (logits[token] as number) > -Infinity ? token : null
    })
  }

  others(logits: Float32Array): readonly number[] {
    return this.#within(logits, () => {
      const [, ...others] = theLikeliest(logits, mostTried)
      return others.filter((token) => (logits[token] as number) > -Infinity)
    })
  }

  chooseOf(allowed: AllowedTokens, logits: Float32Array): number | null {
    return this.#within(logits, () => {
      let best = -1
      let most = -Infinity
      eachAllowed(allowed, (id) => {
        const logit = logits[id] as number
        if (logit < most || logit === -Infinity || (logit === most && id > best)) return
        best = id
        most = logit
      })
      return best < 0 ? null : best
    })
  }

  accept(token: number): void {
    if (this.#penalizes) this.#counts.set(token, (this.#counts.get(token) ?? 0) + 1)
  }

  free(): void {}

  /** Works with logits that have the biases and the penalties, which few tokens have. Afterwards they are as before. */
  #within<T>(logits: Float32Array, work: () => T): T {
    const before: (readonly [token: number, logit: number])[] = []
    const change = (token: number, to: (logit: number) => number): void => {
      const logit = logits[token] as number
      before.push([token, logit])
      logits[token] = to(logit)
    }
    for (const { token, bias } of this.#changes.logitBias) change(token, (logit) => logit + bias)
    this.#penalize(change)
    const result = work()
    for (const [token, logit] of before.reverse()) logits[token] = logit
    return result
  }

  /** As llama.cpp does. */
  #penalize(change: (token: number, to: (logit: number) => number) => void): void {
    const { repetitionPenalty, frequencyPenalty, presencePenalty } = this.#changes
    for (const [token, count] of this.#counts)
      change(token, (logit) => {
        const repeated = logit <= 0 ? logit * repetitionPenalty : logit / repetitionPenalty
        return repeated - (count * frequencyPenalty + presencePenalty)
      })
  }
}

function likeliest(logits: Float32Array): number {
  let best = 0
  let most = logits[0] as number
  for (let id = 1; id < logits.length; id++) {
    const logit = logits[id] as number
    if (logit > most) {
      best = id
      most = logit
    }
  }
  return best
}

/** The tokens with the `count` largest logits, the largest first; of equal ones, the first ones. */
export function theLikeliest(logits: Float32Array, count: number): number[] {
  const best: number[] = []
  let least = -Infinity
  for (let id = 0; id < logits.length && count > 0; id++) {
    const logit = logits[id] as number
    if (best.length === count && logit <= least) continue
    let at = best.length
    while (at > 0 && logit > (logits[best[at - 1] as number] as number)) at--
    best.splice(at, 0, id)
    if (best.length > count) best.pop()
    least = logits[best[best.length - 1] as number] as number
  }
  return best
}
