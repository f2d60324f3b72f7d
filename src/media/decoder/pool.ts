import { cancelled, OrielError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { availableProcessors } from '../../processors.ts'
import { type DecodedFile, DecoderProcess, type FileToDecode } from './decoder-process.ts'
import type { FileHeader } from './protocol.ts'

export interface PoolOptions {
  /** 0: one for each core, but at least two, so that one slow file does not stop all others, and at most eight. */
  processes: number
  /** Time for one file, in ms. */
  timeoutMs: number
  log: Logger | undefined
}

/**
 * Decides by a file's header whether it may be decoded, and when.
 * @returns what is to be called when it has been, whatever became of it. @throws OrielError when it may not
 */
export type Admit = (header: FileHeader) => Promise<() => void>

/** Files that may wait for a decoder, each with its bytes in memory. */
const mostWaiting = 1000
/** How long a decoder may still be at a file that nobody waits for any more, in ms: a new one takes longer to start. */
const desertedMs = 1000

/** Decoders, started as they are needed. Files are taken in the order in which they come. */
export class DecoderPool {
  readonly #options: PoolOptions
  readonly #most: number
  readonly #free: DecoderProcess[] = []
  readonly #all = new Set<DecoderProcess>()
  readonly #waiting: (() => void)[] = []
  #busy = 0
  #closed = false

  constructor(options: PoolOptions) {
    this.#options = options
    this.#most = options.processes || Math.min(8, Math.max(2, availableProcessors()))
  }

  /**
   * @param admit is asked between header and decoding
   * @throws OrielError about the file, or `overloaded`, `cancelled`, `internal`
   */
  async decode(file: FileToDecode, admit: Admit, signal: AbortSignal): Promise<DecodedFile> {
    await this.#turn(signal)
    // A file that nobody waits for any more still occupies its decoder until it is done or dead, which is soon.
    const work = this.#run(file, admit, signal)
    return await Promise.race([work, whenAborted(signal)])
  }

  /** Starts a decoder before it is needed. */
  async warm(): Promise<void> {
    await this.#turn(AbortSignal.timeout(1000))
    try {
      this.#free.push(await this.#take())
    } catch (error) {
      this.#options.log?.error({ error }, 'no decoder can be started')
    } finally {
      this.#pass()
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const process of this.#all) process.kill()
    for (const next of this.#waiting.splice(0)) next()
  }

  async #run(file: FileToDecode, admit: Admit, signal: AbortSignal): Promise<DecodedFile> {
    let process: DecoderProcess | undefined
    let ended = false
    let release = (): void => {}
    let deserted: NodeJS.Timeout | undefined
    const desert = (): void => {
      deserted = setTimeout(() => process?.kill(), desertedMs)
    }
    signal.addEventListener('abort', desert, { once: true })
    try {
      process = await this.#take()
      signal.throwIfAborted()
      return await process.decode(file, async (header) => {
        signal.throwIfAborted()
        const free = await admit(header)
        // Its process may have died meanwhile.
        if (ended) return free()
        release = free
        signal.throwIfAborted()
      })
    } catch (error) {
      throw this.#closed ? closing() : error
    } finally {
      ended = true
      signal.removeEventListener('abort', desert)
      clearTimeout(deserted)
      release()
      if (process?.alive) this.#free.push(process)
      else if (process !== undefined) this.#all.delete(process)
      this.#pass()
    }
  }

  async #take(): Promise<DecoderProcess> {
    if (this.#closed) throw closing()
    for (let process = this.#free.pop(); process !== undefined; process = this.#free.pop()) {
      if (process.alive) return process
      this.#all.delete(process)
    }
    const { timeoutMs, log } = this.#options
    const process = await DecoderProcess.start(timeoutMs, log).catch((cause) => {
      throw new OrielError('internal', 'The server cannot start a decoder for pictures.', { cause })
    })
    this.#all.add(process)
    if (this.#closed) process.kill()
    return process
  }

  /** Waits until one decoder more may work. */
  async #turn(signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw cancelled()
    if (this.#busy < this.#most) {
      this.#busy++
      return
    }
    if (this.#waiting.length >= mostWaiting)
      throw new OrielError('overloaded', 'Too many pictures wait to be decoded.', {
        code: 'too_many_pictures_waiting',
        retryAfter: 5,
      })
    await new Promise<void>((resolve, reject) => {
      const go = (): void => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1)
        reject(cancelled())
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#waiting.push(go)
    })
  }

  #pass(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#busy--
    else next()
  }
}

/** Never resolves. */
function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(cancelled())
    else signal.addEventListener('abort', () => reject(cancelled()), { once: true })
  })
}

const closing = (): OrielError =>
  new OrielError('overloaded', 'The server is shutting down.', { code: 'shutting_down', retryAfter: 5 })
