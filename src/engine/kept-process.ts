import type { ChildProcess } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { orAborted } from '../abort.ts'
import { fromWire, type WireError } from '../children/index.ts'
import { type Choice, formCounts, type Modality } from '../encoders/index.ts'
import { cancelled, OrielError, shuttingDown } from '../errors.ts'
import type { Logger } from '../log.ts'
import { hold, readOutput, takeProcess } from './child.ts'
import type { EngineModel, Runtimes } from './generation.ts'
import { type PayloadParts, PayloadWriter } from './pieces.ts'
import type { FromEngine, LoadOptions, ToEngine } from './protocol.ts'

/** What whoever starts an engine is told, and asked. */
export interface Surroundings {
  log: Logger
  /** Called with the share of all weights that is loaded, 0 to 1. */
  onProgress: (share: number) => void
  /** Called when the encoders are open, with the runtimes that they use. */
  onOpened: (runtimes: Runtimes) => void
  /** Called with the bytes of all adapters that are loaded, and of the encoders with one. */
  onAdapters: (bytes: number) => void
  /** Called when the encoders cannot be opened: this process answers texts only. */
  onUnopened: (error: OrielError) => void
  /** Asked before a restart: whether the model's files are the same as at the start. @throws OrielError if they cannot be loaded */
  isCurrent: () => Promise<boolean>
  /**
   * Called when the engine will not start again.
   * @param error why; undefined if the model's files have changed
   * @returns what its requests are told
   */
  onLost: (error: unknown) => OrielError
}

/** Whose work the process does. */
interface Owner {
  /** A process has loaded the model. */
  ready(): void
  receive(message: FromEngine): void
  /** The process has died, and another one will be started. */
  died(): void
  /** The process has died, and no other one is started. */
  ended(reason: OrielError): void
  /** Whether there is work for the process. */
  isBusy(): boolean
}

/** Time that a request waits for an engine process that is starting again, in ms. */
const restartTimeout = 30_000
/** Pause before a restart, in ms: it doubles with each process that lived for less than `short`, up to `last`. */
const pauses = { first: 100, short: 10_000, last: 10_000 }
/**
 * The engine ends when so many processes in a row die while they open their encoders. Some may have died of something else, and
 * on a busy machine they are open long after the first text is answered.
 */
const mostDiedOpening = 4
/** Requests wait for a restart whose pause is not longer, in ms. */
const pauseWaited = 1000
/**
 * A process with work is asked for its state at this interval, in ms, and is killed after this number of missed answers in a row. It
 * answers between any two calls of native code, none of which takes seconds unless it hangs.
 */
const heartbeat = { every: 2000, mostMissed: 6 }
/** The id of the question that nobody but the heartbeat asks. */
const heartbeatId = 0

/** A process with a loaded model. When it dies or hangs, another one is started. */
export class KeptProcess {
  readonly #options: LoadOptions
  readonly #around: Surroundings
  readonly #owner: Owner
  #child: ChildProcess | undefined
  #payloads: PayloadWriter | undefined
  /** Whether the child has loaded its model and takes messages. */
  #live = false
  #model: EngineModel | undefined
  #ready: Promise<void> = Promise.resolve()
  #closed = false
  /** Why no other one is started. */
  #lost: OrielError | undefined
  /** When the last process became live, and the pause before the next one, in ms. */
  #liveSince = 0
  #pauseMs = pauses.first
  /** Processes in a row that died while they opened their encoders. */
  #diedOpening = 0

  constructor(options: LoadOptions, around: Surroundings, owner: Owner) {
    this.#options = options
    this.#around = around
    this.#owner = owner
  }

  get model(): EngineModel {
    if (this.#model === undefined) throw new Error('the engine has not been started')
    return this.#model
  }

  get live(): boolean {
    return this.#live
  }

  /** Waits for a process that takes requests. @throws OrielError `engine_failed`, `overloaded`, `cancelled`; why it ended */
  async whenReady(signal?: AbortSignal): Promise<void> {
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
    const { log } = this.#around
    const { name } = this.#options
    const child = takeProcess()
    try {
      this.#payloads = new PayloadWriter(child)
    } catch (cause) {
      throw notStarted(cause)
    }
    this.#child = child
    const lastLines = readOutput(child, (line) => log.debug({ engine: name }, line))
    const heard = this.#watch(child)
    let refused = false
    let isOpening = true
    const opened = (): void => {
      isOpening = false
      this.#diedOpening = 0
    }
    await new Promise<void>((resolve, reject) => {
      child.on('message', (message: FromEngine) => {
        heard()
        if (message.type === 'ready') {
          if (!hasEncoders(message.model)) opened()
          this.#isReady(message.model)
          resolve()
        } else if (message.type === 'opened') {
          opened()
          this.#around.onOpened(message.runtimes)
        } else if (message.type === 'unopened') {
          opened()
          this.#logUnopened(message.error)
          this.#around.onUnopened(fromWire(message.error))
        } else if (message.type === 'calibrated') this.#logChoice(message.choice, message.modality)
        else if (message.type === 'uncalibrated')
          logCause(log, message.error, 'the forms of an encoder could not be chosen')
        else if (message.type === 'loading') this.#around.onProgress(message.share)
        else if (message.type === 'failed' && message.id === null) {
          refused = true
          logCause(log, message.error, 'the engine failed while it loaded the model')
          reject(fromWire(message.error))
          child.kill('SIGKILL')
        } else this.#owner.receive(message)
        this.hold()
      })
      child.on('error', (error) => {
        log.error({ error: error.message }, 'the engine process cannot be reached')
        reject(notStarted(error))
      })
      child.once('exit', (code, signal) => {
        const wasLive = this.#live
        this.#live = false
        reject(
          new OrielError('internal', 'The engine process died while it loaded the model.', { code: 'engine_died' }),
        )
        if (this.#closed || refused) return
        log.error({ code, signal, lastLines }, 'the engine process died')
        if (!wasLive) return
        this.#owner.died()
        // Opening the encoders is the end of a load, and one that kills its process would do so without end.
        if (isOpening && ++this.#diedOpening >= mostDiedOpening) {
          this.#end(encoderDied())
          return
        }
        const short = performance.now() - this.#liveSince < pauses.short
        this.#pauseMs = short ? Math.min(pauses.last, this.#pauseMs * 2) : pauses.first
        this.#ready = this.#restart()
      })
      child.send({ type: 'load', options: this.#options } satisfies ToEngine, () => {})
    })
  }

  /** A process that is exiting takes no messages; its exit tells the owner. */
  send(message: ToEngine): void {
    const child = this.#child
    if (child?.connected) child.send(message, () => {})
    this.hold()
  }

  /** @returns false if the payload was freed before it was sent. */
  async sendPayload(payload: PayloadParts): Promise<boolean> {
    return (await this.#payloads?.send(payload)) ?? true
  }

  /** An idle engine does not keep the server's process from exiting: a program need not close what it opened. */
  hold(): void {
    const child = this.#child
    if (!child?.connected || this.#closed) return
    hold(child, !this.#live || this.#owner.isBusy())
  }

  async close(): Promise<void> {
    this.#closed = true
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.ref()
    child.kill('SIGKILL')
    await gone
  }

  #isReady(model: EngineModel): void {
    this.#live = true
    this.#liveSince = performance.now()
    this.#model = model
    const { name: engine, contextTokens, memory, gpuLayers } = model
    this.#around.log.info({ engine, contextTokens, gpuLayers, ...memory }, 'the engine is ready')
    this.#owner.ready()
  }

  #logUnopened({ message, cause }: WireError): void {
    const error = cause ?? message
    this.#around.log.error({ engine: this.#options.name, error }, 'the encoders could not be opened')
  }

  #logChoice({ forms, ...measured }: Choice, modality: Modality): void {
    this.#around.log.info(
      { engine: this.#options.name, forms: formCounts(forms), ...measured },
      `the forms of the ${modality === 'vision' ? 'image' : 'audio'} encoder were chosen for this machine`,
    )
  }

  /** Kills the process if it hangs; its exit is handled like any other. @returns to be called with each of its messages */
  #watch(child: ChildProcess): () => void {
    let unanswered = 0
    const timer = setInterval(() => {
      if (!this.#live || !this.#owner.isBusy()) return
      if (++unanswered > heartbeat.mostMissed) {
        this.#around.log.error({ engine: this.#options.name }, 'the engine process hangs and is killed')
        child.kill('SIGKILL')
      } else this.send({ type: 'state', id: heartbeatId })
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
      const isCurrent = await this.#around.isCurrent()
      if (this.#closed) return
      if (isCurrent) await this.launch()
      else this.#end(undefined)
    } catch (error) {
      if (!this.#closed) this.#end(error)
    }
  }

  #end(error: unknown): void {
    const why = error === undefined ? 'the files of the model have changed' : 'the engine did not start again'
    this.#around.log.error({ engine: this.#options.name, error: error && String(error) }, why)
    this.#lost = this.#around.onLost(error)
    this.#owner.ended(this.#lost)
  }
}

/** Logs what an error of the engine's process comes from, which no client is told. */
export function logCause(log: Logger, { cause }: WireError, what: string): void {
  if (cause !== undefined) log.error({ error: cause }, what)
}

const hasEncoders = ({ inputs }: EngineModel): boolean => inputs.image !== null || inputs.audio !== null

const notStarted = (cause: unknown) => new OrielError('internal', 'The engine process could not be started.', { cause })

const encoderDied = () =>
  new OrielError('internal', 'The engine process died while it opened the encoders of the model.', {
    code: 'encoder_died',
  })

const restartTooSlow = () =>
  new OrielError('engine_failed', `The engine is restarting and was not ready within ${restartTimeout / 1000} s.`, {
    retryAfter: 5,
  })

const dyingEarly = (pauseMs: number) =>
  new OrielError('engine_failed', 'The engine keeps stopping soon after its start. Try again later.', {
    retryAfter: Math.ceil(pauseMs / 1000),
  })
