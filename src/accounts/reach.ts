import type { Logger } from '../log.ts'

/** How long a service that failed is left alone, in ms. */
const restMs = 1000

/**
 * The way to a service that may be cut off. While it is, callers fail at once instead of waiting; one of them tries it again
 * each second.
 */
export class Reach {
  readonly #name: string
  readonly #timeoutMs: number
  readonly #log: Logger
  /** Undefined while the service answers. */
  #tryAgainAt: number | undefined

  /** @param timeoutMs after which a call has failed */
  constructor(name: string, timeoutMs: number, log: Logger) {
    this.#name = name
    this.#timeoutMs = timeoutMs
    this.#log = log
  }

  /** @throws Error that the service is cut off, whatever the reason is; the log has it */
  async call<T>(work: () => Promise<T>): Promise<T> {
    const now = performance.now()
    if (this.#tryAgainAt !== undefined) {
      if (now < this.#tryAgainAt) throw new Error(`${this.#name} is cut off`)
      this.#tryAgainAt = now + this.#timeoutMs + restMs
    }
    try {
      const result = await inTime(work(), this.#timeoutMs)
      if (this.#tryAgainAt !== undefined) this.#log.warn(`${this.#name} answers again`)
      this.#tryAgainAt = undefined
      return result
    } catch (error) {
      if (this.#tryAgainAt === undefined) this.#log.error({ error: String(error) }, `${this.#name} is cut off`)
      this.#tryAgainAt = performance.now() + restMs
      throw new Error(`${this.#name} is cut off`, { cause: error })
    }
  }
}

/** @throws Error when the work takes longer; what becomes of it later is ignored */
async function inTime<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const fail = (): void => reject(new Error(`no answer in ${timeoutMs} ms`))
    // When this process was late itself, the answer may be there and not be read yet.
    timer = setTimeout(() => setImmediate(fail), timeoutMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
