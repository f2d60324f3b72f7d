import { onAbort, orAborted } from '../../abort.ts'
import type { MediaConfig } from '../../config.ts'
import { OrielError, shuttingDown } from '../../errors.ts'
import { type Costs, ownClient } from '../../fairness.ts'
import type { Logger } from '../../log.ts'
import { wholeMemory } from '../../memory.ts'
import { availableProcessors } from '../../processors.ts'
import { Semaphore } from '../../semaphore.ts'
import {
  type DecodedFile,
  DecoderProcess,
  type DecoderSettings,
  type FileToDecode,
  type RawImage,
} from './decoder-process.ts'
import type { FileHeader, ImageFile } from './protocol.ts'

/**
 * Decides by a file's header whether and when the file may be decoded.
 * @returns a function that is called once decoding has ended, in whatever way. @throws OrielError to refuse the file
 */
export type Admit = (header: FileHeader) => Promise<() => void>

/** What a decoder does in its turn. */
interface Use<T> {
  /** Whether it leaves the cores to others from the start. */
  readonly isLow: boolean
  /** @param admitted resolves when the file may be decoded */
  run(decoder: DecoderProcess, admitted: (header: FileHeader) => Promise<void>): Promise<T>
}

/** The part of the memory that all videos and audio together may take while they are decoded; one may take its own limit. */
const recordingShare = 1 / 4
/** The limit for files that wait for a decoder; their bytes are in memory. */
const maxWaiting = 1000
/**
 * Time that a client waits while others hold all decoders, in ms; then another process is started for it. More than most
 * images take, and less than starting a process.
 */
const patienceMs = 250
/** Time after which a file counts as slow, in ms: its decoder goes on with a lower priority. */
const slowMs = 1000
/** Time that a decoder may continue with a file whose request was cancelled, in ms. Starting a process takes longer. */
const cancelledGraceMs = 1000
/** Time after which an idle process is ended, in ms: it holds up to some hundred megabytes, and most crowds are short. */
const idleMs = 60_000

/**
 * Decoder processes, started on demand. Clients take turns, and a client never waits for the slow files of others: a second
 * set of processes is for clients that have none, and videos, audio and slow images leave the cores to the others.
 */
export class DecoderPool {
  readonly #settings: DecoderSettings
  readonly #log: Logger | undefined
  readonly #costs: Costs
  readonly #size: number
  /** One unit for each process. */
  readonly #processes: Semaphore
  /** One unit for each video or audio: they are bounded by the memory that all of them may take. */
  readonly #recordings: Semaphore
  /** Those that were in use last come last. */
  readonly #idle: DecoderProcess[] = []
  /** Of those that are idle. */
  readonly #timers = new WeakMap<DecoderProcess, NodeJS.Timeout>()
  readonly #all = new Set<DecoderProcess>()
  #isWarm = false
  #closed = false

  /**
   * @param settings of each process, and their number; 0: one for each core, at least two so that one slow file does not
   * block all others, and at most eight
   * @param costs charged with the time of decoding
   */
  constructor(
    { decoders, ...settings }: DecoderSettings & Pick<MediaConfig, 'decoders'>,
    costs: Costs,
    log: Logger | undefined,
  ) {
    this.#settings = settings
    this.#costs = costs
    this.#log = log
    this.#size = decoders || Math.min(8, Math.max(2, availableProcessors()))
    const waiting = { most: maxWaiting, full: tooManyWaiting }
    const spare = { units: this.#size, patienceMs }
    this.#processes = new Semaphore({ capacity: this.#size, waiting, spare }, costs)
    // At least two, so that one client's long files leave a place to others.
    const capacity = Math.max(2, Math.floor((wholeMemory() * recordingShare) / settings.recordingMemoryBytes))
    this.#recordings = new Semaphore({ capacity, mostOfOne: Math.ceil(capacity / 2), waiting }, costs)
  }

  /**
   * @param admit is called between reading the header and decoding
   * @throws OrielError about the file, or `overloaded`, `cancelled`, `internal`
   */
  decode(client: string, file: FileToDecode, admit: Admit, signal: AbortSignal): Promise<DecodedFile> {
    const isLow = file.options.wanted.kind !== 'image'
    const bounds = isLow ? [this.#recordings] : []
    const run: Use<DecodedFile>['run'] = (decoder, admitted) => decoder.decode(file, admitted)
    return this.#inTurn(client, admit, signal, { isLow, run }, bounds)
  }

  /** Writes an image as a file. @throws OrielError `overloaded`, `cancelled`, `internal` */
  write(client: string, image: RawImage, signal: AbortSignal): Promise<ImageFile> {
    return this.#inTurn(client, async () => () => {}, signal, { isLow: false, run: (decoder) => decoder.write(image) })
  }

  /** Starts a process before the first file arrives, once. */
  async warm(): Promise<void> {
    if (this.#isWarm) return
    this.#isWarm = true
    const release = await this.#processes.acquire(ownClient, 1, new AbortController().signal)
    try {
      this.#idle.push(await this.#take(false))
    } catch (error) {
      if (!this.#closed) this.#log?.error({ reason: whyNotStarted(error) }, 'cannot start a decoder process')
    } finally {
      release()
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const decoder of this.#all) decoder.kill()
  }

  /** @param bounds of which it takes a unit too, before it takes a process */
  async #inTurn<T>(
    client: string,
    admit: Admit,
    signal: AbortSignal,
    use: Use<T>,
    bounds: readonly Semaphore[] = [],
  ): Promise<T> {
    const taken: (() => void)[] = []
    const release = (): void => {
      for (const giveBack of taken) giveBack()
    }
    try {
      for (const bound of [...bounds, this.#processes]) taken.push(await bound.acquire(client, 1, signal))
    } catch (error) {
      release()
      throw error
    }
    // After an abort the decoder stays occupied until it has finished the file or is killed.
    return await orAborted(this.#run(client, admit, signal, use).finally(release), signal)
  }

  async #run<T>(client: string, admit: Admit, signal: AbortSignal, use: Use<T>): Promise<T> {
    let decoder: DecoderProcess | undefined
    let ended = false
    let release = (): void => {}
    let rest = (): void => {}
    const work = (decoder: DecoderProcess): void => {
      const charge = this.#costs.run(client)
      const slow = setTimeout(() => decoder.lowerPriority(), slowMs)
      rest = () => {
        charge()
        clearTimeout(slow)
      }
    }
    let grace: NodeJS.Timeout | undefined
    const removeListener = onAbort(signal, () => {
      grace = setTimeout(() => decoder?.kill(), cancelledGraceMs)
    })
    try {
      const taken = await this.#take(use.isLow)
      decoder = taken
      signal.throwIfAborted()
      work(taken)
      return await use.run(taken, async (header) => {
        signal.throwIfAborted()
        rest()
        const admitted = await admit(header)
        // The process may have died during the wait.
        if (ended) return admitted()
        work(taken)
        release = admitted
        signal.throwIfAborted()
      })
    } catch (error) {
      throw this.#closed ? shuttingDown() : error
    } finally {
      ended = true
      removeListener()
      clearTimeout(grace)
      rest()
      release()
      if (decoder !== undefined) this.#putBack(decoder)
    }
  }

  #putBack(decoder: DecoderProcess): void {
    if (decoder.alive && this.#idleAs(decoder).length < this.#size) {
      this.#idle.push(decoder)
      const timer = setTimeout(() => this.#rested(decoder), idleMs).unref()
      this.#timers.set(decoder, timer)
    } else this.#end(decoder)
  }

  /** The last one of the usual priority stays: the next image does not wait for a start. */
  #rested(decoder: DecoderProcess): void {
    if (decoder.alive && !decoder.isLow && this.#idleAs(decoder).length === 1) return
    this.#idle.splice(this.#idle.indexOf(decoder), 1)
    this.#end(decoder)
  }

  #idleAs({ isLow }: DecoderProcess): DecoderProcess[] {
    return this.#idle.filter((idle) => idle.alive && idle.isLow === isLow)
  }

  #end(decoder: DecoderProcess): void {
    decoder.kill()
    this.#all.delete(decoder)
  }

  /** An idle process of this priority, or a new one. An idle one of the usual priority is lowered if need be, but never raised. */
  async #take(isLow: boolean): Promise<DecoderProcess> {
    const decoder = this.#takeIdle(isLow) ?? (isLow ? this.#takeIdle(false) : undefined) ?? (await this.#start())
    if (isLow && !decoder.isLow) decoder.lowerPriority()
    return decoder
  }

  #takeIdle(isLow: boolean): DecoderProcess | undefined {
    if (this.#closed) throw shuttingDown()
    for (;;) {
      const at = this.#idle.findLastIndex((idle) => idle.isLow === isLow)
      const [idle] = at < 0 ? [] : this.#idle.splice(at, 1)
      if (idle === undefined) return undefined
      clearTimeout(this.#timers.get(idle))
      if (idle.alive) return idle
      this.#all.delete(idle)
    }
  }

  async #start(): Promise<DecoderProcess> {
    const started = await DecoderProcess.start(this.#settings, this.#log).catch((cause) => {
      throw new OrielError('internal', 'The server cannot start a decoder process.', {
        code: 'no_decoder',
        cause,
      })
    })
    this.#all.add(started)
    if (this.#closed) started.kill()
    return started
  }
}

const whyNotStarted = (error: unknown): string =>
  error instanceof OrielError && error.cause instanceof Error ? error.cause.message : String(error)

const tooManyWaiting = (): OrielError =>
  new OrielError('overloaded', `${maxWaiting} files are waiting to be decoded. That is the limit. Try again later.`, {
    code: 'too_many_files_waiting',
    retryAfter: 5,
  })
