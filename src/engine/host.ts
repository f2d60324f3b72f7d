import { onAbort } from '../abort.ts'
import { fromWire } from '../children/index.ts'
import { cancelled, OrielError, shuttingDown } from '../errors.ts'
import { EventQueue } from '../event-queue.ts'
import type { Logger } from '../log.ts'
import type { EmbeddedText, EmbeddingEngine, TextRequest } from './embedding.ts'
import type {
  AdapterFiles,
  Embeddings,
  Engine,
  EngineAttachment,
  EngineModel,
  EnginePhase,
  EngineState,
  Fitting,
  GenerateEvent,
  GenerateRequest,
  ImageAttachment,
  ImageView,
  PromptCount,
  PromptInputs,
  PromptPiece,
} from './generation.ts'
import { KeptAdapters } from './kept-adapters.ts'
import { KeptProcess, logCause, type Surroundings } from './kept-process.ts'
import { type PackedEvent, unpacked } from './packed-chances.ts'
import { type PackedCount, unpackTokens } from './packed-tokens.ts'
import { mergeText, type Payload, type Payloads, type Pending, phaseOf, separatePayloads } from './pending.ts'
import { Previews } from './preview.ts'
import type { FromEngine, LoadOptions, ToEngine } from './protocol.ts'
import { type Question, Questions } from './questions.ts'

export interface EngineOptions extends LoadOptions, Partial<Surroundings> {
  log: Logger
}

/** Unread events of a choice at which a request is paused. Its memory is bounded, and nothing is computed that may never be read. */
const mostUnread = 1024

/**
 * Starts an engine in a process of its own and keeps it running: when the process dies, its running requests fail with
 * `engine_failed` and another process is started. Waiting requests, texts to embed and new ones wait for that. If it cannot
 * be started, or the model's files have changed, the engine ends.
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
  {
    log,
    onProgress = () => {},
    onOpened = () => {},
    onAdapters = () => {},
    onUnopened = () => {},
    isCurrent = async () => true,
    onLost = lost,
    ...options
  }: EngineOptions,
  signal?: AbortSignal,
): Promise<Engine & EmbeddingEngine> {
  if (signal?.aborted) throw cancelled()
  const host = new EngineHost(options, { log, onProgress, onOpened, onAdapters, onUnopened, isCurrent, onLost })
  const removeListener = signal && onAbort(signal, () => void host.close())
  try {
    await host.launch()
    return host
  } finally {
    removeListener?.()
  }
}

class EngineHost implements Engine, EmbeddingEngine {
  readonly #process: KeptProcess
  readonly #log: Logger
  readonly #previews: Previews
  readonly #adapters: KeptAdapters
  /** The key of the adapter that native code reads. */
  #entering: string | undefined
  #adapterBytes = 0
  #adaptedEncoders = 0
  readonly #visionBytes: number
  readonly #onAdapters: (bytes: number) => void
  readonly #running = new Map<number, Pending>()
  readonly #questions = new Questions((message) => this.#send(message))
  #nextId = 1

  constructor(options: LoadOptions, around: Surroundings) {
    this.#log = around.log
    this.#visionBytes = options.settings.visionBytes
    this.#onAdapters = around.onAdapters
    this.#previews = new Previews(options.projector)
    this.#adapters = new KeptAdapters(options.settings, {
      load: async (key, { decoder: file }) => {
        await this.#ask((id) => ({ type: 'adapter', id, key, file })).finally(() => {
          if (this.#entering === key) this.#entering = undefined
        })
      },
      drop: (key) => this.#send({ type: 'drop', id: this.#nextId++, key }),
      changed: (bytes) => {
        this.#adapterBytes = bytes
        this.#tellAdapters()
      },
    })
    this.#process = new KeptProcess(options, around, {
      ready: () => {
        this.#adaptedEncoders = 0
        this.#tellAdapters()
        this.#adapters.reload()
        for (const [id, { request }] of this.#running) this.#send({ type: 'generate', id, request })
        this.#questions.askAgain()
      },
      receive: (message) => this.#receive(message),
      died: () => {
        this.#condemn()
        this.#lose()
      },
      ended: (reason) => {
        for (const id of this.#running.keys()) this.#fail(id, reason)
        this.#questions.end(reason)
      },
      isBusy: () => this.#running.size + this.#questions.size > 0,
    })
  }

  /** @throws OrielError if the process cannot be started or cannot load the model */
  launch(): Promise<void> {
    return this.#process.launch()
  }

  get model(): EngineModel {
    return this.#process.model
  }

  async *generate(
    request: GenerateRequest,
    signal: AbortSignal,
    onPhase: (phase: EnginePhase) => void = () => {},
  ): AsyncIterable<GenerateEvent> {
    await this.#process.whenReady(signal)
    const adapter = request.adapter && (await this.#adapters.hold(request.adapter.id, signal))
    try {
      yield* this.#generate(request, adapter, signal, onPhase)
    } finally {
      adapter?.release()
    }
  }

  async *#generate(
    request: GenerateRequest,
    adapter: { key: string; vision: string | null } | undefined,
    signal: AbortSignal,
    onPhase: (phase: EnginePhase) => void,
  ): AsyncIterable<GenerateEvent> {
    await this.#process.whenReady(signal)
    const id = this.#nextId++
    const { prompt, payloads } = separatePayloads(request.prompt)
    const { key: adapterKey = undefined, vision = null } = adapter ?? {}
    const visionAdapter = adapterKey === undefined || vision === null ? undefined : { key: adapterKey, file: vision }
    const queue = new EventQueue<PackedEvent>(mergeText)
    let over = false
    const leave = (): void => {
      if (this.#running.delete(id) && !over) this.#send({ type: 'cancel', id })
      this.#process.hold()
    }
    const pending: Pending = {
      ...{ request: { ...request, prompt, adapterKey, visionAdapter }, queue, payloads, onPhase },
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
        yield await unpacked(event)
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
    await this.#process.whenReady()
    const headers = prompts.map((pieces) => separatePayloads(pieces).prompt)
    return this.#ask((id) => ({ type: 'measure', id, client, prompts: headers }))
  }

  async fit({ prompt, ...request }: Fitting): Promise<void> {
    await this.#process.whenReady()
    const header = { ...request, prompt: separatePayloads(prompt).prompt }
    await this.#ask((id) => ({ type: 'fit', id, request: header }))
  }

  async count(pieces: readonly PromptPiece[], client: string): Promise<PromptCount> {
    await this.#process.whenReady()
    const { prompt } = separatePayloads(pieces)
    const counted = await this.#ask<PackedCount>((id) => ({ type: 'count', id, client, prompt }))
    return { ...counted, tokens: await unpackTokens(counted.tokens) }
  }

  async inputs(pieces: readonly PromptPiece[], most: number, client: string): Promise<PromptInputs> {
    await this.#process.whenReady()
    const { prompt } = separatePayloads(pieces)
    return this.#ask((id) => ({ type: 'inputs', id, client, prompt, most }))
  }

  async encode(piece: EngineAttachment, client: string, signal: AbortSignal): Promise<Embeddings> {
    await this.#process.whenReady(signal)
    const { prompt, payloads } = separatePayloads([piece])
    const question = { type: 'encode', id: this.#nextId++, request: { prompt, client } } as const
    return this.#questions.until(signal, question, payloads)
  }

  async embed(request: TextRequest, signal: AbortSignal): Promise<EmbeddedText> {
    await this.#process.whenReady(signal)
    return this.#questions.until(signal, { type: 'embed', id: this.#nextId++, request })
  }

  async loadAdapter(adapter: AdapterFiles, signal?: AbortSignal): Promise<void> {
    await this.#process.whenReady(signal)
    await this.#adapters.load(adapter, signal)
  }

  unloadAdapter(id: string): Promise<void> {
    return this.#adapters.unload(id)
  }

  async preview(image: ImageAttachment, mostPixels: number): Promise<readonly ImageView[]> {
    return this.#previews.preview(image, mostPixels)
  }

  async state(): Promise<EngineState> {
    if (!this.#process.live) throw lost()
    return this.#ask((id) => ({ type: 'state', id }))
  }

  #ask<Answer>(questionOf: (id: number) => Question): Promise<Answer> {
    return this.#questions.ask(questionOf(this.#nextId++))
  }

  async close(): Promise<void> {
    this.#previews.close()
    for (const { queue } of this.#running.values()) queue.fail(shuttingDown())
    this.#questions.end(shuttingDown())
    await this.#process.close()
  }

  #tellAdapters(): void {
    this.#onAdapters(this.#adapterBytes + this.#adaptedEncoders * this.#visionBytes)
  }

  #receive(message: FromEngine): void {
    if (message.type === 'events') {
      for (const [id, event] of message.events) {
        const pending = this.#taken(id)
        if (pending === undefined) continue
        pending.queue.push(event)
        // Its reader may be far behind. Whatever becomes of the process, nothing is missing.
        if (event.type === 'done') this.#running.delete(id)
        else this.#pause(id, pending)
        if (event.type === 'prompt') {
          pending.admitted = true
          pending.onPhase(phaseOf(pending))
        }
      }
    } else if (message.type === 'want') {
      const { id, hash } = message
      const pending = this.#running.get(id)
      const [payload] = this.#payloadsOf(id)?.get(hash) ?? []
      if (payload === undefined) return
      const { parts } = payload
      if (parts === null) {
        this.#send({ type: 'payload', id, hash, bytes: null })
        void this.#decode(id, hash, payload)
      } else void this.#give(id, hash, payload, parts)
      if (pending === undefined) return
      pending.encoding = true
      pending.onPhase(phaseOf(pending))
    } else if (message.type === 'encoded') {
      const payloads = this.#payloadsOf(message.id)
      for (const payload of payloads?.get(message.hash) ?? []) payload.letGo()
      payloads?.delete(message.hash)
      this.#questions.hold(message.id)
      const pending = this.#taken(message.id)
      pending?.onPhase(phaseOf(pending))
    } else if (message.type === 'entering') {
      this.#entering = message.key
      this.#log.debug({ adapter: message.key }, 'an adapter is being loaded')
    } else if (message.type === 'adapted') {
      this.#adaptedEncoders = message.encoders
      this.#tellAdapters()
    } else if (message.type === 'answer') {
      this.#questions.answer(message.id, message.answer)
    } else if (message.type === 'failed' && message.id !== null) {
      const error = fromWire(message.error)
      logCause(this.#log, message.error, 'a request failed in the engine')
      this.#fail(message.id, error)
    }
  }

  /** Gives the engine what it wants. A request whose attachment was freed before would wait for it without end. */
  async #give(id: number, hash: string, payload: Payload, parts: readonly Uint8Array[]): Promise<void> {
    if (!(await this.#process.sendPayload({ id, hash, parts }))) this.#lack(id, hash, payload, freed())
  }

  /** Has an attachment decoded that the engine wants. */
  async #decode(id: number, hash: string, payload: Payload): Promise<void> {
    try {
      await payload.decode()
    } catch (error) {
      this.#lack(id, hash, payload, error instanceof OrielError ? error : undecodable(error))
      return
    }
    this.#send({ type: 'decoded', id, hash })
  }

  /** Fails a request that lacks a payload, unless it has the embeddings meanwhile. */
  #lack(id: number, hash: string, payload: Payload, error: OrielError): void {
    if (!this.#payloadsOf(id)?.get(hash)?.includes(payload)) return
    this.#fail(id, error)
    this.#send({ type: 'cancel', id })
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

  #payloadsOf(id: number): Payloads | undefined {
    return this.#running.get(id)?.payloads ?? this.#questions.payloadsOf(id)
  }

  #fail(id: number, error: OrielError): void {
    this.#running.get(id)?.queue.fail(error)
    this.#running.delete(id)
    this.#questions.fail(id, error)
  }

  /** The adapter that a dead process was loading is not given to the next one. */
  #condemn(): void {
    const key = this.#entering
    this.#entering = undefined
    if (key === undefined) return
    const reason = this.#adapters.condemn(key)
    this.#log.error({ error: reason.message }, 'an adapter ended the engine')
    this.#questions.failAdapter(key, reason)
  }

  /**
   * Fails what a dead process was answering. Requests that were only waiting, and questions, whose answers come at once, are
   * left for the next process, but each only once, since one of them may be the cause.
   */
  #lose(): void {
    for (const [id, pending] of this.#running) {
      if (!pending.movable) this.#fail(id, lost())
      pending.movable = false
    }
    this.#questions.lose(lost())
  }

  #send(message: ToEngine): void {
    this.#process.send(message)
  }
}

const freed = () =>
  new OrielError('internal', 'An attachment was freed before the model had seen or heard it.', {
    code: 'attachment_freed',
  })
const undecodable = (cause: unknown) =>
  new OrielError('internal', 'An attachment could not be decoded again.', { cause })
const lost = () =>
  new OrielError(
    'engine_failed',
    'The engine stopped while it worked on this request and is restarting. Send the request again.',
    { retryAfter: 1 },
  )
