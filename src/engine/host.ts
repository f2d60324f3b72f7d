import type { ChildProcess } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { onAbort, orAborted } from '../abort.ts'
import { fromWire, type WireError } from '../children/index.ts'
import { type Deferred, deferred } from '../deferred.ts'
import { type Choice, formCounts } from '../encoders/index.ts'
import { cancelled, OrielError, shuttingDown } from '../errors.ts'
import type { Logger } from '../log.ts'
import { hold, readOutput, takeProcess } from './child.ts'
import type { EmbeddedText, EmbeddingEngine, TextRequest } from './embedding.ts'
import { EventQueue } from './event-queue.ts'
import type {
  Engine,
  EngineModel,
  EnginePhase,
  EngineState,
  GenerateEvent,
  GenerateRequest,
  ImageAttachment,
  ImageView,
  PromptCount,
  PromptPiece,
} from './generation.ts'
import { mergeText, type Payload, type Pending, phaseOf, separatePayloads } from './pending.ts'
import { type Piece, sendInPieces } from './pieces.ts'
import { Previews } from './preview.ts'
import type { FromEngine, LoadOptions, ToEngine } from './protocol.ts'

export interface EngineOptions extends LoadOptions {
  log: Logger
  /** Called with the share of all weights that is loaded, 0 to 1. */
  onProgress?: (share: number) => void
  /** Asked before a restart: whether the model's files are the same as at the start. @throws OrielError if they cannot be loaded */
  isCurrent?: () => Promise<boolean>
  /**
   * Called when the engine will not start again.
   * @param error why; undefined if the model's files have changed
   * @returns what its requests are told
   */
  onLost?: (error: unknown) => OrielError
}

/** Time that a request waits for an engine process that is starting again, in ms. */
const restartTimeout = 30_000
/** Pause before a restart, in ms: it doubles with each process that lived for less than `short`, up to `last`. */
const pauses = { first: 100, short: 10_000, last: 10_000 }
/** Requests wait for a restart whose pause is not longer, in ms. */
const pauseWaited = 1000
/**
 * A process with work is asked for its state at this interval, in ms, and is killed after this number of missed answers in a row. It
 * answers between any two calls of native code, none of which takes seconds unless it hangs.
 */
const heartbeat = { every: 2000, mostMissed: 6 }
/** Unread events of a choice at which a request is paused. Its memory is bounded, and nothing is computed that may never be read. */
const mostUnread = 1024

/**
 * Starts an engine in a process of its own and keeps it running: when the process dies, its running requests fail with
 * `engine_failed` and another process is started. Waiting requests and new ones wait for that. If it cannot be started, or the
 * model's files have changed, the engine ends.
 * @param signal aborts the load
 * @throws OrielError `invalid` if the model cannot be loaded, `internal` if this machine cannot run it, `cancelled` if the
 * signal has aborted before
 */
export const startEngine = (options: EngineOptions, signal?: AbortSignal): Promise<Engine> => started(options, signal)

/** Starts the engine of a model that embeds, as `startEngine` does. */
export const startEmbedding = (
  options: EngineOptions & Required<Pick<EngineOptions, 'embedding'>>,
  signal?: AbortSignal,
): Promise<EmbeddingEngine> => started(options, signal)

async function started(
  { log, onProgress = () => {}, isCurrent = async () => true, onLost = lost, ...options }: EngineOptions,
  signal?: AbortSignal,
): Promise<Engine & EmbeddingEngine> {
  if (signal?.aborted) throw cancelled()
  const host = new EngineHost(options, { log, onProgress, isCurrent, onLost })
  const removeListener = signal && onAbort(signal, () => void host.close())
  try {
    await host.launch()
    return host
  } finally {
    removeListener?.()
  }
}

type Surroundings = Required<Pick<EngineOptions, 'log' | 'onProgress' | 'isCurrent' | 'onLost'>>

class EngineHost implements Engine, EmbeddingEngine {
  readonly #options: LoadOptions
  readonly #around: Surroundings
  readonly #log: Logger
  readonly #previews: Previews
  readonly #running = new Map<number, Pending>()
  /** Questions that the engine has not answered: counts, texts to embed, and states. */
  readonly #asked = new Map<number, Deferred<unknown>>()
  #child: ChildProcess | undefined
  /** Whether the child has loaded its model and takes requests. */
  #live = false
  #model: EngineModel | undefined
  #ready: Promise<void> = Promise.resolve()
  #closed = false
  /** Why it will not start again. */
  #lost: OrielError | undefined
  /** When the last process became live, and the pause before the next one, in ms. */
  #liveSince = 0
  #pauseMs = pauses.first
  #nextId = 1

  constructor(options: LoadOptions, around: Surroundings) {
    this.#options = options
    this.#around = around
    this.#log = around.log
    this.#previews = new Previews(options.projector)
  }

  get model(): EngineModel {
    if (this.#model === undefined) throw new Error('the engine has not been started')
    return this.#model
  }

  async *generate(
    request: GenerateRequest,
    signal: AbortSignal,
    onPhase: (phase: EnginePhase) => void = () => {},
  ): AsyncIterable<GenerateEvent> {
    await this.#whenReady(signal)
    const id = this.#nextId++
    const { prompt, payloads } = separatePayloads(request.prompt)
    const queue = new EventQueue<GenerateEvent>(mergeText)
    let over = false
    const leave = (): void => {
      if (this.#running.delete(id) && !over) this.#send({ type: 'cancel', id })
      this.#keepRunning()
    }
    const pending: Pending = {
      ...{ request: { ...request, prompt }, queue, payloads, onPhase },
      ...{ movable: true, paused: false, encoding: false, admitted: false },
    }
    this.#running.set(id, pending)
    onPhase('queued')
    // At once: the reader may never read on.
    const removeListener = onAbort(signal, () => {
      queue.fail(cancelled())
      leave()
    })
    try {
      this.#send({ type: 'generate', id, request: pending.request })
      for await (const event of queue) {
        over = event.type === 'done'
        this.#pause(id, pending)
        yield event
        if (over) return
      }
    } catch (error) {
      over = true
      throw error
    } finally {
      removeListener()
      leave()
    }
  }

  async lengths(prompts: readonly (readonly PromptPiece[])[], client: string): Promise<readonly number[]> {
    await this.#whenReady()
    const headers = prompts.map((pieces) => separatePayloads(pieces).prompt)
    return this.#ask((id) => ({ type: 'measure', id, client, prompts: headers }))
  }

  async count(pieces: readonly PromptPiece[], client: string): Promise<PromptCount> {
    await this.#whenReady()
    const { prompt } = separatePayloads(pieces)
    return this.#ask((id) => ({ type: 'count', id, client, prompt }))
  }

  async embed(request: TextRequest, signal: AbortSignal): Promise<EmbeddedText> {
    await this.#whenReady(signal)
    const id = this.#nextId++
    const removeListener = onAbort(signal, () => {
      this.#asked.get(id)?.reject(cancelled())
      if (this.#asked.delete(id)) this.#send({ type: 'cancel', id })
    })
    return this.#ask<EmbeddedText>(() => ({ type: 'embed', id, request }), id).finally(removeListener)
  }

  async preview(image: ImageAttachment, mostPixels: number): Promise<readonly ImageView[]> {
    return this.#previews.preview(image, mostPixels)
  }

  async state(): Promise<EngineState> {
    if (!this.#live) throw lost()
    return this.#ask((id) => ({ type: 'state', id }))
  }

  #ask<Answer>(question: (id: number) => ToEngine, id = this.#nextId++): Promise<Answer> {
    const asked = deferred<Answer>()
    this.#asked.set(id, asked)
    this.#send(question(id))
    return asked.promise
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#previews.close()
    const child = this.#child
    for (const { queue } of this.#running.values()) queue.fail(shuttingDown())
    this.#failQuestions(shuttingDown())
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.ref()
    child.kill('SIGKILL')
    await gone
  }

  /** Waits for a process that takes requests. @throws OrielError `engine_failed`, `overloaded`, `cancelled`; why it ended */
  async #whenReady(signal?: AbortSignal): Promise<void> {
    if (!this.#live && !this.#closed && !this.#lost) {
      if (this.#pauseMs > pauseWaited) throw dyingEarly(this.#pauseMs)
      const timeout = AbortSignal.timeout(restartTimeout)
      const limit = signal === undefined ? timeout : AbortSignal.any([signal, timeout])
      const late = () => (timeout.aborted ? restartTooSlow() : cancelled())
      while (!this.#live && !this.#closed && !this.#lost) await orAborted(this.#ready, limit, late)
    }
    if (this.#lost) throw this.#lost
    if (this.#closed) throw shuttingDown()
    if (signal?.aborted) throw cancelled()
  }

  /** Starts one process. @throws OrielError if it cannot be started or cannot load the model */
  async launch(): Promise<void> {
    const child = takeProcess()
    this.#child = child
    const lastLines = readOutput(child, (line) => this.#log.debug({ engine: this.#options.name }, line))
    const heard = this.#watch(child)
    let refused = false
    await new Promise<void>((resolve, reject) => {
      child.on('message', (message: FromEngine) => {
        heard()
        if (message.type === 'ready') {
          this.#live = true
          this.#liveSince = performance.now()
          this.#model = message.model
          const { contextTokens, memory, gpuLayers } = message.model
          this.#log.info({ engine: message.model.name, contextTokens, gpuLayers, ...memory }, 'the engine is ready')
          for (const [id, { request }] of this.#running) this.#send({ type: 'generate', id, request })
          resolve()
        } else if (message.type === 'calibrated') this.#logChoice(message.choice)
        else if (message.type === 'uncalibrated')
          this.#logCause(message.error, 'the forms of the image encoder could not be chosen')
        else if (message.type === 'loading') this.#around.onProgress(message.share)
        else if (message.type === 'failed' && message.id === null) {
          refused = true
          this.#logCause(message.error, 'the engine failed while it loaded the model')
          reject(fromWire(message.error))
          child.kill('SIGKILL')
        } else this.#receive(message)
        this.#keepRunning()
      })
      child.on('error', (error) => {
        this.#log.error({ error: error.message }, 'the engine process cannot be reached')
        reject(new OrielError('internal', 'The engine process could not be started.', { cause: error }))
      })
      child.once('exit', (code, signal) => {
        const wasLive = this.#live
        this.#live = false
        reject(
          new OrielError('internal', 'The engine process died while it loaded the model.', { code: 'engine_died' }),
        )
        if (this.#closed || refused) return
        this.#log.error({ code, signal, lastLines }, 'the engine process died')
        if (!wasLive) return
        this.#lose()
        const short = performance.now() - this.#liveSince < pauses.short
        this.#pauseMs = short ? Math.min(pauses.last, this.#pauseMs * 2) : pauses.first
        this.#ready = this.#restart()
      })
      child.send({ type: 'load', options: this.#options } satisfies ToEngine, () => {})
    })
  }

  #logChoice({ forms, ...measured }: Choice): void {
    this.#log.info(
      { engine: this.#options.name, forms: formCounts(forms), ...measured },
      'the forms of the image encoder were chosen for this machine',
    )
  }

  /** Kills the process if it hangs; its exit is handled like any other. @returns to be called with each of its messages */
  #watch(child: ChildProcess): () => void {
    let unanswered = 0
    const timer = setInterval(() => {
      if (!this.#live || !this.#busy) return
      if (++unanswered > heartbeat.mostMissed) {
        this.#log.error({ engine: this.#options.name }, 'the engine process hangs and is killed')
        child.kill('SIGKILL')
      } else this.state().catch(() => {})
    }, heartbeat.every)
    child.once('exit', () => clearInterval(timer))
    timer.unref()
    return () => {
      unanswered = 0
    }
  }

  /** Starts another process, or ends the engine. Never rejects. */
  async #restart(): Promise<void> {
    await sleep(this.#pauseMs)
    try {
      if (this.#closed) return
      if (await this.#around.isCurrent()) await this.launch()
      else this.#end(undefined)
    } catch (error) {
      if (!this.#closed) this.#end(error)
    }
  }

  #end(error: unknown): void {
    const why = error === undefined ? 'the files of the model have changed' : 'the engine did not start again'
    this.#log.error({ engine: this.#options.name, error: error && String(error) }, why)
    const reason = this.#around.onLost(error)
    this.#lost = reason
    for (const id of this.#running.keys()) this.#fail(id, reason)
    this.#failQuestions(reason)
  }

  #receive(message: FromEngine): void {
    if (message.type === 'events') {
      for (const [id, event] of message.events) {
        const pending = this.#taken(id)
        if (pending === undefined) continue
        pending.queue.push(event)
        this.#pause(id, pending)
        if (event.type === 'prompt') {
          pending.admitted = true
          pending.onPhase(phaseOf(pending))
        }
      }
    } else if (message.type === 'want') {
      const { id, hash } = message
      const pending = this.#running.get(id)
      const [payload] = pending?.payloads.get(hash) ?? []
      if (pending === undefined || payload === undefined) return
      this.#send({ type: 'payload', id, hash, bytes: payload.rgb })
      if (payload.rgb === null) void this.#decode(id, hash, payload)
      pending.encoding = true
      pending.onPhase(phaseOf(pending))
    } else if (message.type === 'encoded') {
      const pending = this.#taken(message.id)
      if (pending === undefined) return
      for (const payload of pending.payloads.get(message.hash) ?? []) payload.letGo()
      pending.payloads.delete(message.hash)
      pending.onPhase(phaseOf(pending))
    } else if (message.type === 'answer') {
      this.#asked.get(message.id)?.resolve(message.answer)
      this.#asked.delete(message.id)
    } else if (message.type === 'failed' && message.id !== null) {
      const error = fromWire(message.error)
      this.#logCause(message.error, 'a request failed in the engine')
      this.#fail(message.id, error)
      this.#asked.get(message.id)?.reject(error)
      this.#asked.delete(message.id)
    }
  }

  /** Has an image decoded that the engine wants. If that fails, its request does, unless it has the embeddings meanwhile. */
  async #decode(id: number, hash: string, payload: Payload): Promise<void> {
    try {
      await payload.decode()
    } catch (error) {
      if (!this.#running.get(id)?.payloads.get(hash)?.includes(payload)) return
      this.#fail(id, error instanceof OrielError ? error : undecodable(error))
      this.#send({ type: 'cancel', id })
      return
    }
    this.#send({ type: 'decoded', id, hash })
  }

  /** Pauses a request whose reader is far behind, and continues it when everything is read. */
  #pause(id: number, pending: Pending): void {
    const { queue, request } = pending
    if (pending.paused ? queue.unread > 0 : queue.unread < mostUnread * request.n) return
    pending.paused = !pending.paused
    this.#send({ type: 'pause', id, paused: pending.paused })
  }

  /** A request that this process has begun, so no other process may run it. */
  #taken(id: number): Pending | undefined {
    const pending = this.#running.get(id)
    if (pending !== undefined) pending.movable = false
    return pending
  }

  #fail(id: number, error: OrielError): void {
    this.#running.get(id)?.queue.fail(error)
    this.#running.delete(id)
  }

  /**
   * Fails what a dead process was running. Requests that were only waiting are left for the next process, but each only
   * once, since one of them may be the cause.
   */
  #lose(): void {
    for (const [id, pending] of this.#running) {
      if (!pending.movable) this.#fail(id, lost())
      pending.movable = false
    }
    this.#failQuestions(lost())
  }

  #logCause({ cause }: WireError, what: string): void {
    if (cause !== undefined) this.#log.error({ error: cause }, what)
  }

  #failQuestions(error: OrielError): void {
    for (const { reject } of this.#asked.values()) reject(error)
    this.#asked.clear()
  }

  #send(message: ToEngine): void {
    // A process that is exiting takes no messages; its exit fails the requests.
    const child = this.#child
    if (child?.connected) {
      const write = (part: ToEngine | Piece) =>
        new Promise<void>((resolve) => (child.connected ? child.send(part, () => resolve()) : resolve()))
      if (message.type === 'payload' && message.bytes !== null)
        void sendInPieces({ ...message, bytes: message.bytes }, write)
      else void write(message)
    }
    this.#keepRunning()
  }

  /** An idle engine does not keep the server's process from exiting: a program need not close what it opened. */
  #keepRunning(): void {
    const child = this.#child
    if (!child?.connected || this.#closed) return
    hold(child, !this.#live || this.#busy)
  }

  get #busy(): boolean {
    return this.#running.size + this.#asked.size > 0
  }
}

const undecodable = (cause: unknown) => new OrielError('internal', 'An image could not be decoded again.', { cause })
const restartTooSlow = () =>
  new OrielError('engine_failed', `The engine is restarting and was not ready within ${restartTimeout / 1000} s.`, {
    retryAfter: 5,
  })
const dyingEarly = (pauseMs: number) =>
  new OrielError('engine_failed', 'The engine keeps stopping soon after its start. Try again later.', {
    retryAfter: Math.ceil(pauseMs / 1000),
  })
const lost = () =>
  new OrielError(
    'engine_failed',
    'The engine stopped while it worked on this request and is restarting. Send the request again.',
    { retryAfter: 1 },
  )
