import { onAbort, orAborted } from '../../abort.ts'
import { OrielError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { availableProcessors } from '../../processors.ts'
import { Semaphore } from '../semaphore.ts'
import { type DecodedFile, DecoderProcess, type FileToDecode } from './decoder-process.ts'
import type { FileHeader } from './protocol.ts'

/**
 * Decides by a file's header whether and when the file may be decoded.
 * @returns a function that is called once decoding has ended, in whatever way. @throws OrielError to refuse the file
 */
export type Admit = (header: FileHeader) => Promise<() => void>

/** The limit for files that wait for a decoder; their bytes are in memory. */
const maxWaiting = 1000
/** Time that a decoder may continue with a file whose request was cancelled, in ms. Starting a process takes longer. */
const cancelledGraceMs = 1000

/** Decoder processes, started on demand. Files are decoded in the order in which they arrive. */
export class DecoderPool {
  readonly #timeoutMs: number
  readonly #log: Logger | undefined
  /** One unit for each process. */
  readonly #processes: Semaphore
  readonly #idle: DecoderProcess[] = []
  readonly #all = new Set<DecoderProcess>()
  #closed = false

  /**
   * @param processes 0: one for each core, at least two so that one slow file does not block all others, and at most eight
   * @param timeoutMs for decoding one file
   */
  constructor(processes: number, timeoutMs: number, log: Logger | undefined) {
    this.#timeoutMs = timeoutMs
    this.#log = log
    this.#processes = new Semaphore(processes || Math.min(8, Math.max(2, availableProcessors())))
  }

  /**
   * @param admit is called between reading the header and decoding
   * @throws OrielError about the file, or `overloaded`, `cancelled`, `internal`
   */
  async decode(file: FileToDecode, admit: Admit, signal: AbortSignal): Promise<DecodedFile> {
    if (this.#processes.waiting >= maxWaiting)
      throw new OrielError(
        'overloaded',
        `${maxWaiting} images are waiting to be decoded, the limit. Try again later.`,
        { code: 'too_many_pictures_waiting', retryAfter: 5 },
      )
    const release = await this.#processes.acquire(1, signal)
    // After an abort the decoder stays occupied until it has finished the file or is killed.
    return await orAborted(this.#run(file, admit, signal).finally(release), signal)
  }

  /** Starts a process before the first file arrives. */
  async warm(): Promise<void> {
    const release = await this.#processes.acquire(1, new AbortController().signal)
    try {
      this.#idle.push(await this.#take())
    } catch (error) {
      this.#log?.error({ error }, 'cannot start an image decoder process')
    } finally {
      release()
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const decoder of this.#all) decoder.kill()
  }

  async #run(file: FileToDecode, admit: Admit, signal: AbortSignal): Promise<DecodedFile> {
    let decoder: DecoderProcess | undefined
    let ended = false
    let release = (): void => {}
    let grace: NodeJS.Timeout | undefined
    const removeListener = onAbort(signal, () => {
      grace = setTimeout(() => decoder?.kill(), cancelledGraceMs)
    })
    try {
      decoder = await this.#take()
      signal.throwIfAborted()
      return await decoder.decode(file, async (header) => {
        signal.throwIfAborted()
        const admitted = await admit(header)
        // The process may have died during the wait.
        if (ended) return admitted()
        release = admitted
        signal.throwIfAborted()
      })
    } catch (error) {
      throw this.#closed ? shuttingDown() : error
    } finally {
      ended = true
      removeListener()
      clearTimeout(grace)
      release()
      if (decoder?.alive) this.#idle.push(decoder)
      else if (decoder !== undefined) this.#all.delete(decoder)
    }
  }

  async #take(): Promise<DecoderProcess> {
    if (this.#closed) throw shuttingDown()
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (idle.alive) return idle
      this.#all.delete(idle)
    }
    const started = await DecoderProcess.start(this.#timeoutMs, this.#log).catch((cause) => {
      throw new OrielError('internal', 'The server cannot start an image decoder process.', { cause })
    })
    this.#all.add(started)
    if (this.#closed) started.kill()
    return started
  }
}

const shuttingDown = (): OrielError =>
  new OrielError('overloaded', 'The server is shutting down.', { code: 'shutting_down', retryAfter: 5 })
