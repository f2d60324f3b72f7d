import { cancelled, OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { type Affinity, type Candidate, Places } from './affinity.ts'
import { AttemptFailed } from './attempt-failed.ts'
import { Breaker } from './breaker.ts'
import { Health } from './health.ts'
import type { Target, Upstream } from './target.ts'

/** A request that a target has begun to answer. */
export interface Begun<T> {
  readonly value: T
  /**
   * Settles when the target has no work of it any more. An AttemptFailed that it rejects with counts against the target. Any
   * other error says that nobody waits for the rest, which might never have come: nothing more is known of the target.
   */
  readonly ended: Promise<void>
}

/** Chooses targets for requests, and leaves out those that do not work. */
export interface Pool {
  /**
   * Runs `attempt` at the best target, and at another one if it throws an AttemptFailed that allows it. A target is passed over
   * that cannot do it at all, which an OrielError with `elsewhere` says: it is no retry. Other errors are the request's. A target
   * is busy from then until `ended` settles.
   * @param targets at least one
   * @param prepare what a target needs before it is asked. It may take long, and keeps no place at the target
   * @throws OrielError that of the last attempt; that of the first target if none can do it; `overloaded` or `engine_failed`,
   * with the time to wait, if no target may be asked
   */
  run<T>(
    targets: readonly Target[],
    affinity: Affinity,
    signal: AbortSignal,
    attempt: (target: Target, signal: AbortSignal) => Promise<Begun<T>>,
    prepare?: (target: Target) => Promise<void>,
  ): Promise<T>
  /** Asks these upstreams from time to time whether they work, and no others any more. */
  watch(upstreams: readonly Upstream[]): void
  state(upstream: Upstream): UpstreamState
  /** Probes nobody any more. Connections stay as they are. */
  close(): void
}

/** For metrics. Counts are since the start of this server. */
export interface UpstreamState {
  /** Attempts, and those that failed by the upstream's fault. */
  readonly requests: number
  readonly failures: number
  /** Attempts that failed and were repeated at another target. */
  readonly retries: number
  readonly inFlight: number
  /** Whether requests are given to it: its probes succeed, and not all of its targets are left out. */
  readonly isUp: boolean
}

export interface PoolOptions {
  /** Asks an upstream whether it works. @throws if it does not */
  probe(upstream: Upstream, signal: AbortSignal): Promise<void>
  log: Logger
}

export function createPool({ probe, log }: PoolOptions): Pool {
  const members = new WeakMap<Upstream, Member>()
  const watched = new Map<Upstream, Health>()
  const places = new Places()

  const memberOf = (upstream: Upstream): Member => {
    const member = members.get(upstream) ?? new Member()
    members.set(upstream, member)
    return member
  }
  const isUp = (upstream: Upstream): boolean => watched.get(upstream)?.isUp ?? true
  const choose = (targets: readonly Target[], tried: readonly Target[], affinity: Affinity): Target | undefined => {
    const open = targets.filter((target) => !tried.includes(target) && memberOf(target.upstream).waitMs(target) === 0)
    // A probe may be wrong, so those that it found down are better than nobody.
    const up = preferring(open, ({ upstream }) => isUp(upstream))
    // A failure of one without retries could not be made good elsewhere.
    const safe = preferring(up, ({ upstream }) => memberOf(upstream).mayFail)
    const [first, ...others] = safe.map((target): Candidate => ({ target, load: memberOf(target.upstream).inFlight }))
    return first && places.choose(targets, [first, ...others], affinity)
  }
  /** Seconds until one of them may be asked. */
  const soonest = (targets: readonly Target[]): number => {
    const waits = targets.map((target) => memberOf(target.upstream).waitMs(target))
    return Math.ceil(Math.max(shortWait, Math.min(...waits.map((ms) => (Number.isFinite(ms) ? ms : shortWait)))) / 1000)
  }
  /** What the client is told. The time to wait is of all targets: another one may be free sooner. */
  const shown = ({ error }: AttemptFailed, targets: readonly Target[]): OrielError =>
    error.kind === 'overloaded'
      ? new OrielError(error.kind, error.message, { ...error, cause: error.cause, retryAfter: soonest(targets) })
      : error
  const nobody = (targets: readonly Target[]): OrielError => {
    const isBusy = targets.some(
      (target) => isUp(target.upstream) && !memberOf(target.upstream).breaker(target.model).isOpen,
    )
    const details = { code: 'upstream_unavailable', retryAfter: soonest(targets) }
    return isBusy
      ? new OrielError('overloaded', 'The servers that answer for this model are busy.', details)
      : new OrielError('engine_failed', 'No server that answers for this model works at present.', details)
  }

  const works = ({ upstream, model }: Target): void => {
    memberOf(upstream).breaker(model).succeed()
    watched.get(upstream)?.answered()
  }
  /** Notes how an attempt has failed. @returns whether another target may be tried */
  const judge = (target: Target, error: unknown): boolean => {
    const { upstream, model } = target
    const member = memberOf(upstream)
    const breaker = member.breaker(model)
    if (!(error instanceof AttemptFailed)) {
      breaker.giveUp()
      return false
    }
    const { isFault, elsewhere, retryAfterMs, isGuess } = error
    const line = { upstream: upstream.settings.name, model, code: error.error.code, cause: error.error.cause }
    log.debug(line, 'an upstream did not answer')
    if (retryAfterMs !== null && isGuess) breaker.restLonger(retryAfterMs)
    else if (retryAfterMs !== null) breaker.rest(Math.min(retryAfterMs, mostRest))
    if (isFault) {
      member.failures++
      watched.get(upstream)?.suspect()
      if (breaker.fail()) log.warn(line, 'an upstream is left out for some time, since it fails')
    } else if (retryAfterMs === null) works(target)
    else breaker.giveUp()
    return elsewhere
  }

  const ask = async <T>(target: Target, work: () => Promise<Begun<T>>): Promise<T> => {
    const member = memberOf(target.upstream)
    const breaker = member.breaker(target.model)
    member.requests++
    member.inFlight++
    breaker.ask()
    let ended: Promise<void> | undefined
    try {
      const begun = await work()
      ended = begun.ended
      breaker.begin()
      return begun.value
    } finally {
      if (ended === undefined) member.inFlight--
      else
        void ended
          .then(
            () => {
              works(target)
              member.earn()
            },
            (error) => {
              if (error instanceof AttemptFailed) judge(target, error)
            },
          )
          .finally(() => member.inFlight--)
    }
  }

  return {
    async run(targets, affinity, signal, attempt, prepare) {
      const [tried, unable]: [Target[], Target[]] = [[], []]
      let failure: AttemptFailed | undefined
      let inability: OrielError | undefined
      const able = (): Target[] => targets.filter((target) => !unable.includes(target))
      const failed = (): OrielError | undefined => failure && shown(failure, able())
      const passOver = (target: Target, error: unknown): void => {
        if (!(error instanceof OrielError && error.elsewhere)) throw error
        inability ??= error
        unable.push(target)
      }
      for (;;) {
        if (signal.aborted) throw cancelled()
        const target = choose(targets, [...tried, ...unable], affinity)
        if (target === undefined) throw failed() ?? (able().length > 0 ? nobody(able()) : inability)
        if (prepare !== undefined) {
          try {
            await prepare(target)
          } catch (error) {
            passOver(target, error)
            continue
          }
          // Others may have taken its last place meanwhile.
          if (memberOf(target.upstream).waitMs(target) > 0) continue
        }
        const last = tried.at(-1)
        if (last !== undefined && !memberOf(last.upstream).spend()) throw failed()
        try {
          return await ask(target, () => attempt(target, signal))
        } catch (error) {
          const mayRetry = judge(target, error)
          if (!(error instanceof AttemptFailed)) {
            passOver(target, error)
            continue
          }
          failure = error
          tried.push(target)
          if (!mayRetry || tried.length === mostAttempts) throw failed()
        }
      }
    },
    watch(upstreams) {
      for (const [upstream, health] of watched) {
        if (upstreams.includes(upstream)) continue
        health.close()
        watched.delete(upstream)
      }
      for (const upstream of upstreams) {
        if (watched.has(upstream)) continue
        const { name } = upstream.settings
        const health = new Health({
          probe: (signal) => probe(upstream, signal),
          onChange: (isUp) =>
            isUp
              ? log.info({ upstream: name }, 'an upstream works again')
              : log.warn({ upstream: name }, 'an upstream is down'),
        })
        watched.set(upstream, health)
      }
    },
    state(upstream) {
      const { requests, failures, retries, inFlight, isOut } = memberOf(upstream)
      return { requests, failures, retries, inFlight, isUp: isUp(upstream) && !isOut }
    },
    close() {
      for (const health of watched.values()) health.close()
      watched.clear()
    },
  }
}

/** Targets that one request may try: it may be the reason why they fail. */
const mostAttempts = 3
/** The longest rest of a target that asks for one, in ms. */
const mostRest = 300_000
/** How long a client waits at least before it asks again, in ms. */
const shortWait = 1000
/** Retries that an upstream may cause in a row, and how many of its answers, or ms, allow one more. */
const retries = { most: 10, answers: 10, ms: 30_000 }

/** Those that are better, or else all. */
function preferring(targets: readonly Target[], isBetter: (target: Target) => boolean): readonly Target[] {
  const better = targets.filter(isBetter)
  return better.length > 0 ? better : targets
}

/** What the pool knows of an upstream. */
class Member {
  requests = 0
  failures = 0
  retries = 0
  inFlight = 0
  readonly #breakers = new Map<string, Breaker>()
  #allowed = retries.most
  #allowedAt = performance.now()

  breaker(model: string): Breaker {
    const breaker = this.#breakers.get(model) ?? new Breaker()
    this.#breakers.set(model, breaker)
    return breaker
  }

  /** Whether all of its targets that were asked are left out at present, since they fail. */
  get isOut(): boolean {
    const breakers = [...this.#breakers.values()]
    return breakers.length > 0 && breakers.every(({ isOpen, waitMs }) => isOpen && waitMs > 0)
  }

  /** Time until a target may be asked, in ms. */
  waitMs(target: Target): number {
    const { maxInFlight } = target.upstream.settings
    if (maxInFlight !== null && this.inFlight >= maxInFlight) return Number.POSITIVE_INFINITY
    return this.breaker(target.model).waitMs
  }

  /** Whether a request that fails here may be tried elsewhere. */
  get mayFail(): boolean {
    return this.#retriesNow >= 1
  }

  earn(): void {
    this.#allow(this.#retriesNow + 1 / retries.answers)
  }

  /** Takes a retry that a failure here causes, if there is one left: a fleet that is sick gets no more requests than usual. */
  spend(): boolean {
    if (!this.mayFail) return false
    this.#allow(this.#retriesNow - 1)
    this.retries++
    return true
  }

  /** One that nobody asks, since it has none left, gets one from time to time: it may work again. */
  get #retriesNow(): number {
    return Math.min(retries.most, this.#allowed + (performance.now() - this.#allowedAt) / retries.ms)
  }

  #allow(allowed: number): void {
    this.#allowed = Math.min(retries.most, allowed)
    this.#allowedAt = performance.now()
  }
}
