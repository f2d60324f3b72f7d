import { type Deferred, deferred } from '../deferred.ts'
import { countOutlived } from '../native/index.ts'
import type { Calibration } from './calibration.ts'
import type { EmbeddedText } from './embedding.ts'
import { Embeddings } from './embeddings.ts'
import type { Payload } from './encode-turns.ts'
import { loadEmbedder } from './load-embedder.ts'
import { type LoadedModel, loadModel } from './load-model.ts'
import type { PackedEvent } from './packed-chances.ts'
import { type FromEngine, type LoadOptions, type ToEngine, toWire } from './protocol.ts'
import { Scheduler, type SchedulerPort } from './scheduler.ts'

/** A payload that was requested from the parent and has not arrived. */
interface Wanted {
  id: number
  hash: string
  coming: Deferred<Payload>
}

/**
 * The engine's side of the process border: one model, driven by the parent's messages. A crash in native code ends this
 * process only; the parent (`host.ts`) fails the running requests and starts another process.
 */
export class EngineProcess {
  readonly #send: (message: FromEngine) => void
  readonly #load: typeof loadModel
  /** One of the two: a model answers or embeds. */
  #scheduler: Scheduler | undefined
  #embeddings: Embeddings | undefined
  #calibration: Calibration | undefined
  #events: [number, PackedEvent][] = []
  #wanted: Wanted[] = []
  /** Bytes of payloads that have come since the last of them were counted as garbage. */
  #arrived = 0
  /** Payloads that the parent is decoding. */
  #decoding: { id: number; hash: string; decoded: Deferred<void> }[] = []

  /**
   * @param send sends a message to the parent
   * @param load loads the model; tests may load another one
   */
  constructor(send: (message: FromEngine) => void, load = loadModel) {
    this.#send = send
    this.#load = load
  }

  /** Handles a message of the parent. Messages before the end of the load are ignored. */
  receive(message: ToEngine): void {
    if (message.type === 'load') void this.#start(message.options)
    else if (this.#scheduler !== undefined) this.#pass(message, this.#scheduler)
    else if (this.#embeddings !== undefined) this.#passText(message, this.#embeddings)
  }

  #pass(message: Exclude<ToEngine, { type: 'load' }>, scheduler: Scheduler): void {
    const { type, id } = message
    if (type === 'generate') scheduler.submit(id, message.request)
    else if (type === 'cancel') scheduler.cancel(id)
    else if (type === 'pause') scheduler.pause(id, message.paused)
    else if (type === 'payload') this.#give(id, message.hash, message.bytes)
    else if (type === 'decoded') this.#decoded((one) => one.id === id && one.hash === message.hash)
    else if (type === 'state') this.#port.answer(id, scheduler.state)
    else if (type === 'adapter') void this.#loadAdapter(message, scheduler)
    else if (type === 'drop') scheduler.adapters.drop(message.key)
    else if (type === 'count') scheduler.ask(id, message.client, (intake) => intake.count(message.prompt))
    else if (type === 'measure') scheduler.ask(id, message.client, (intake) => intake.lengths(message.prompts))
    else if (type === 'inputs')
      scheduler.ask(id, message.client, (intake) => intake.inputs(message.prompt, message.most))
    else if (type === 'encode') scheduler.encode(id, message.request)
    else if (type === 'fit') scheduler.ask(id, message.request.client, (intake) => intake.fit(message.request))
  }

  async #loadAdapter(
    { id, key, file }: Extract<ToEngine, { type: 'adapter' }>,
    { adapters }: Scheduler,
  ): Promise<void> {
    try {
      await adapters.load(key, file, () => this.#send({ type: 'entering', key }))
      this.#send({ type: 'answer', id, answer: null })
    } catch (error) {
      this.#send({ type: 'failed', id, error: toWire(error) })
    }
  }

  #passText(message: Exclude<ToEngine, { type: 'load' }>, embeddings: Embeddings): void {
    const { type, id } = message
    if (type === 'embed') embeddings.submit(id, message.request)
    else if (type === 'cancel') embeddings.cancel(id)
    else if (type === 'state') this.#send({ type: 'answer', id, answer: embeddings.state })
  }

  /** @returns when the load is over; a failure goes to the parent */
  async #start(options: LoadOptions): Promise<void> {
    try {
      if (options.embedding !== undefined) {
        const { model, ...parts } = await loadEmbedder(options, options.embedding, this.#progress())
        const port = {
          answer: (id: number, answer: EmbeddedText) => this.#send({ type: 'answer', id, answer }),
          fail: (id: number, error: unknown) => this.#send({ type: 'failed', id, error: toWire(error) }),
        }
        this.#embeddings = new Embeddings({ ...parts, settings: options.settings, port })
        this.#send({ type: 'ready', model })
        return
      }
      const isDecoding = () => (this.#scheduler?.state.running ?? 0) > 0
      const { model, opening, ...parts } = await this.#load(options, this.#progress(), isDecoding, (encoders) =>
        this.#send({ type: 'adapted', encoders }),
      )
      this.#scheduler = new Scheduler({ ...parts, settings: options.settings, port: this.#port })
      this.#send({ type: 'ready', model })
      if (opening !== null) void this.#open(opening, this.#scheduler)
    } catch (error) {
      this.#send({ type: 'failed', id: null, error: toWire(error) })
    }
  }

  /** Says when attachments can be answered, or why not. */
  async #open(opening: NonNullable<LoadedModel['opening']>, scheduler: Scheduler): Promise<void> {
    try {
      const { runtimes, calibration } = await opening
      this.#send({ type: 'opened', runtimes })
      if (calibration !== null) this.#calibrate(calibration, scheduler)
    } catch (error) {
      this.#send({ type: 'unopened', error: toWire(error) })
    }
  }

  #calibrate(calibration: Calibration, scheduler: Scheduler): void {
    this.#calibration = calibration
    calibration.begin({
      get isIdle() {
        return scheduler.isIdle
      },
      adopt: (choice, modality) => {
        scheduler.adopt(choice, modality)
        this.#send({ type: 'calibrated', choice, modality })
      },
      fail: (error) => this.#send({ type: 'uncalibrated', error }),
    })
  }

  readonly #port: SchedulerPort = {
    emit: (id, event) => {
      this.#events.push([id, event])
      if (event.type === 'done') this.#forget(id)
    },
    fail: (id, error) => {
      // Events before the failure must not arrive after it.
      this.#flush()
      this.#send({ type: 'failed', id, error: toWire(error) })
      this.#forget(id)
    },
    answer: (id, answer) => {
      this.#send({ type: 'answer', id, answer })
      this.#forget(id)
    },
    flush: () => {
      this.#flush()
      this.#calibration?.look()
    },
    payload: (id, { attachment: { hash } }) => {
      const coming = deferred<Payload>()
      this.#wanted.push({ id, hash, coming })
      this.#send({ type: 'want', id, hash })
      return coming.promise
    },
    letGo: (id, { attachment }) => {
      const { hash } = attachment
      this.#send({ type: 'encoded', id, hash })
      // The parent frees it now. Another request may wait for it, which asks again for its own.
      this.#settle(undefined, (one) => one.id === id && one.hash === hash)
      this.#countArrived()
    },
  }

  /** Reports progress in steps of a hundredth. */
  #progress(): (share: number) => void {
    let sent = 0
    return (share) => {
      const now = Math.floor(share * 100) / 100
      if (now > sent) this.#send({ type: 'loading', share: now })
      sent = Math.max(sent, now)
    }
  }

  #give(id: number, hash: string, bytes: Uint8Array | null): void {
    let payload: Payload = bytes ?? undefined
    this.#arrived += bytes?.length ?? 0
    if (bytes === null) {
      const decoded = deferred<void>()
      this.#decoding.push({ id, hash, decoded })
      payload = { decoded: decoded.promise }
    }
    this.#settle(payload, (one) => one.id === id && one.hash === hash)
  }

  /** Once, however many attachments are let go together: each collection stops all answers. Cached ones have brought nothing. */
  #countArrived(): void {
    const bytes = this.#arrived
    this.#arrived = 0
    if (bytes > 0) setImmediate(() => countOutlived(bytes))
  }

  /** The request is over. */
  #forget(id: number): void {
    this.#settle(undefined, (one) => one.id === id)
    this.#decoded((one) => one.id === id)
  }

  #decoded(isMeant: (one: { id: number; hash: string }) => boolean): void {
    for (const { decoded } of this.#decoding.filter(isMeant)) decoded.resolve()
    this.#decoding = this.#decoding.filter((one) => !isMeant(one))
  }

  #settle(payload: Payload, isMeant: (one: Wanted) => boolean): void {
    for (const { coming } of this.#wanted.filter(isMeant)) coming.resolve(payload)
    this.#wanted = this.#wanted.filter((one) => !isMeant(one))
  }

  #flush(): void {
    if (this.#events.length === 0) return
    this.#send({ type: 'events', events: this.#events })
    this.#events = []
  }
}
