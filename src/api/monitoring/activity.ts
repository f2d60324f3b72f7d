import { randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { Phase } from '../../deployments/index.ts'
import type { ErrorKind, OrielError } from '../../errors.ts'
import { promptKinds } from '../shapes/usage.ts'
import { Recent } from './recent.ts'
import type { WatchedAnswer } from './watched-answer.ts'

/** A request of somebody known. It has nothing that its client wrote. */
export interface AskedRequest {
  /** Of its row in the ledger: a client may choose that of the request itself. One that was not let in has no row. */
  readonly id: string
  readonly requestId: string
  readonly account: string
  readonly key: string | null
  /** null: it was not let in, and the name that it has for a model is its client's. */
  readonly model: string | null
  /** The id of the adapter that it names; null: none. */
  readonly adapter: string | null
  readonly endpoint: string
  readonly dialect: string
}

/** Tokens by kind. `cached`: of text and images. */
export interface Tokens {
  readonly text: number
  readonly image: number
  readonly video: number
  readonly audio: number
  readonly cached: number
  readonly output: number
}

/** A request whose response is over. Times are in ms; null: it did not come that far. */
export interface FinishedRequest extends AskedRequest {
  /** How many had ended with it. */
  readonly number: number
  readonly ended: Date
  readonly status: number
  /** The identifier of what went wrong. */
  readonly error: string | null
  readonly duration: number
  readonly firstToken: number | null
  readonly perToken: number | null
  readonly phases: Readonly<Record<'load' | 'media' | 'queue' | 'encode' | 'prefill' | 'decode', number | null>>
  readonly tokens: Tokens
  readonly images: number
  /** In micro-units of the currency. */
  readonly cost: number
}

/** Finished requests that are remembered. */
const mostFinished = 300

/** What the server does now, and did in the last hour. */
export class Activity {
  readonly recent = new Recent()
  readonly #running = new Set<RunningRequest>()
  readonly #ofRequest = new WeakMap<FastifyRequest, RunningRequest>()
  /** Why requests were not let in. */
  readonly #refused = new WeakMap<FastifyRequest, Failure>()
  readonly #finished: FinishedRequest[] = []
  #ended = 0

  /** The oldest first. */
  get running(): ReadonlySet<RunningRequest> {
    return this.#running
  }

  /** The adapters of running requests, and those of requests that wait for their answer to begin. */
  get adapters(): { running: string[]; waiting: string[] } {
    const adaptersOf = (isAnswered: boolean): string[] => {
      const meant = [...this.#running].filter(({ answer }) => (answer !== undefined) === isAnswered)
      return [...new Set(meant.flatMap(({ asked }) => asked.adapter ?? []))]
    }
    return { running: adaptersOf(true), waiting: adaptersOf(false) }
  }

  /** The newest first. */
  finished(): FinishedRequest[] {
    return this.#finished.toReversed()
  }

  /** A request begins that was let in. It must be ended. */
  begin(request: FastifyRequest, asked: AskedRequest): RunningRequest {
    const running = new RunningRequest(asked)
    this.#running.add(running)
    this.#ofRequest.set(request, running)
    return running
  }

  /** The answer to a request begins. @returns to be called with the number of new tokens */
  answering(request: FastifyRequest, answer: WatchedAnswer): (tokens: number) => void {
    const { output: _, ...prompt } = tokensOf(answer)
    const { now } = this.recent
    for (const kind of ['text', 'image', 'video', 'audio', 'cached'] as const) now[kind] += prompt[kind]
    const running = this.#ofRequest.get(request)
    if (running !== undefined) running.answer = answer
    // Not every backend says more.
    if (running?.phase === 'queued') running.enter('prefill')
    return (tokens) => {
      this.recent.now.output += tokens
      running?.enter('decoding')
    }
  }

  /** A request failed, let in or not. */
  failed(request: FastifyRequest, { kind, code = kind }: OrielError): void {
    const running = this.#ofRequest.get(request)
    if (running === undefined) this.#refused.set(request, { kind, code })
    else running.failure = { kind, code }
  }

  /**
   * The response to a request is over that may not have been let in. It counts as others do; it is listed if it is known who
   * has sent it: strangers must not fill the list.
   * @param ms since it arrived
   */
  over(request: FastifyRequest, status: number, ms: number): void {
    const failure = this.#refused.get(request)
    if (failure === undefined || this.#ofRequest.has(request)) return
    this.recent.now.requests++
    this.recent.now.failed(failure.kind)
    const { identity, routeOptions } = request
    if (identity === undefined) return
    const { account, key } = identity
    this.#remember({
      ...{ id: `refused_${randomUUID()}`, requestId: request.id, account, key, model: null, adapter: null },
      ...{ endpoint: routeOptions.url ?? '', dialect: routeOptions.config.dialect?.title ?? '' },
      ...{ status, error: failure.code, duration: ms, firstToken: null, perToken: null, phases: phasesOf(undefined) },
      ...{ tokens: tokensOf(undefined), images: 0, cost: 0 },
    })
  }

  /** @param status of the response; 499: the client left @param cost in micro-units of the currency */
  end(running: RunningRequest, status: number, cost: number): void {
    if (!this.#running.delete(running)) return
    const { asked, began, answer, failure = status === 499 ? left : undefined } = running
    const { tally } = answer ?? {}
    const [firstToken = null, perToken = null] = [answer?.firstToken, answer?.perToken]
    const { now } = this.recent
    now.requests++
    now.cost += cost
    if (failure !== undefined) now.failed(failure.kind)
    if (firstToken !== null) now.firstToken.add(firstToken)
    if (perToken !== null) now.perToken.add(perToken)
    for (const { cached } of tally?.images ?? []) {
      now.images++
      if (cached !== null) now.cachedImages++
    }
    // Only numbers are kept: the answer itself holds its prompt.
    this.#remember({
      ...asked,
      ...{ status, error: failure?.code ?? null },
      ...{ duration: performance.now() - began, firstToken, perToken, phases: phasesOf(answer) },
      ...{ tokens: running.tokens ?? tokensOf(answer), images: answer?.answer.usage.imageTokens.length ?? 0, cost },
    })
  }

  #remember(finished: Omit<FinishedRequest, 'number' | 'ended'>): void {
    this.#finished.push({ ...finished, number: ++this.#ended, ended: new Date() })
    if (this.#finished.length > mostFinished) this.#finished.shift()
  }
}

interface Failure {
  readonly kind: ErrorKind
  readonly code: string
}

const left: Failure = { kind: 'cancelled', code: 'cancelled' }

/** A request that was let in and is not over. Times are those of `performance.now()`. */
export class RunningRequest {
  readonly asked: AskedRequest
  readonly began = performance.now()
  answer: WatchedAnswer | undefined
  failure: Failure | undefined
  /** Tokens of its texts that were embedded so far. */
  embeddedTokens = 0
  /** The model that embeds. undefined: none did so far. */
  embeddedBy: string | undefined
  #phase: 'loading' | Phase | 'decoding' = 'loading'
  #phaseBegan = this.began

  constructor(asked: AskedRequest) {
    this.asked = asked
  }

  get phase(): 'loading' | Phase | 'decoding' {
    return this.#phase
  }

  get phaseBegan(): number {
    return this.#phaseBegan
  }

  get tokens(): Tokens | undefined {
    if (this.embeddedTokens > 0) return { ...tokensOf(undefined), text: this.embeddedTokens }
    return this.answer && tokensOf(this.answer)
  }

  enter(phase: Phase | 'decoding'): void {
    // One prompt of several may be behind the others.
    if (phase === this.#phase || this.#phase === 'decoding') return
    this.#phase = phase
    this.#phaseBegan = performance.now()
  }
}

function tokensOf(watched: WatchedAnswer | undefined): Tokens {
  if (watched === undefined) return { text: 0, image: 0, video: 0, audio: 0, cached: 0, output: 0 }
  const { textTokens, imageTokens, videoTokens, audioTokens, cachedTokens } = promptKinds(watched.answer.usage)
  const output = watched.tally?.completionTokens ?? watched.completionTokens
  return {
    ...{ text: textTokens, image: imageTokens, video: videoTokens, audio: audioTokens },
    ...{ cached: cachedTokens, output },
  }
}

function phasesOf(watched: WatchedAnswer | undefined): FinishedRequest['phases'] {
  const { queue = null, encode = null, prefill = null, generation = null } = watched?.tally?.timings ?? {}
  const { loadMs: load = null, media } = watched?.answer ?? {}
  return { load, media: media?.media ?? null, queue, encode, prefill, decode: generation }
}
