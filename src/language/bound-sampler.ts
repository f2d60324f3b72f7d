import type { LlamaContext } from '../native/index.ts'
import type { FollowedGrammar } from './grammar/grammars.ts'
import { type Matcher, workAtOnce } from './grammar/matcher.ts'
import type { Chooser, TokenSampler, TokenSearch } from './sampler.ts'

/**
 * Samples under a grammar: first without it. To check a token takes microseconds, so if the chosen one is not allowed,
 * others are tried before all allowed tokens are searched for, of which one is chosen then. Each is drawn with its
 * probability, so the first one that is allowed is as likely as among the allowed ones alone: this is rejection sampling.
 * Only top_p and the like make a difference: they cut among all tokens until the allowed ones are searched for.
 */
export class BoundSampler implements TokenSampler {
  readonly #chooser: Chooser
  readonly #grammar: FollowedGrammar

  constructor(chooser: Chooser, grammar: FollowedGrammar) {
    this.#chooser = chooser
    this.#grammar = grammar
  }

  sample(_context: LlamaContext, _row: number, logitsOf: () => Float32Array): number | null | TokenSearch {
    this.#grammar.trim()
    const matcher = this.#grammar.open()
    const logits = logitsOf()
    const token = this.#chooser.choose(logits)
    if (token === null) return null
    if (matcher?.accept(token)) return this.#accepted(token)
    if (!this.#chooser.draws && matcher?.allowed !== undefined) return this.#within(logits, matcher)
    const tries = [token, ...this.#chooser.others(logits)]
    if (matcher !== undefined) {
      const found = this.#tryAtOnce(tries, matcher)
      if (found !== undefined) return found
      if (tries.length === 0 && matcher.allowed !== undefined) return this.#within(logits, matcher)
    }
    return this.#search(logits.slice(), tries, matcher)
  }

  free(): void {
    this.#chooser.free()
    this.#grammar.close()
  }

  /** @param tries loses those that are not allowed @returns undefined if none is, or if it takes longer than it may */
  #tryAtOnce(tries: number[], matcher: Matcher): number | undefined {
    const enough = matcher.work + workAtOnce
    for (let token = tries[0]; token !== undefined && matcher.work < enough; token = tries[0]) {
      const accepted = matcher.accept(token)
      if (accepted) return this.#accepted(token)
      if (accepted === undefined) return undefined
      tries.shift()
    }
    return undefined
  }

  /** @param at the place in the grammar, if it is found */
  #search(logits: Float32Array, tries: number[], at: Matcher | undefined): TokenSearch {
    let matcher = at
    let search: ReturnType<Matcher['search']> | undefined
    return {
      logits,
      run: (until) => {
        this.#grammar.trim()
        while (matcher === undefined) {
          matcher = this.#grammar.openSlowly()
          if (performance.now() >= until) return undefined
        }
        for (let token = tries.shift(); token !== undefined; token = tries.shift()) {
          if (matcher.acceptSlowly(token)) return this.#accepted(token)
          if (performance.now() >= until) return undefined
        }
        search ??= matcher.search()
        return search.run(until) ? this.#within(logits, matcher) : undefined
      },
    }
  }

  #within(logits: Float32Array, matcher: Matcher): number | null {
    const { allowed } = matcher
    if (allowed === undefined) throw new Error('the allowed tokens are not known')
    const token = this.#chooser.chooseOf(allowed, logits)
    if (token === null) return null
    if (!matcher.acceptSlowly(token)) throw new Error('an allowed token was not accepted')
    return this.#accepted(token)
  }

  #accepted(token: number): number {
    this.#chooser.accept(token)
    return token
  }
}
