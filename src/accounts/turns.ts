import { OrielError } from '../errors.ts'

interface Most {
  /** Of all clients together. */
  readonly running: number
  readonly runningOfOne: number
  readonly waitingOfOne: number
}

/** Gives turns to work of clients that takes long or is much: the next turn is for another client, if one waits. */
export class Turns {
  readonly #most: Most
  readonly #refusal: string
  readonly #waiting = new Map<string, (() => void)[]>()
  readonly #running = new Map<string, number>()
  #runningNow = 0

  /** @param refusal one sentence for a client of which too much waits */
  constructor(most: Most, refusal: string) {
    this.#most = most
    this.#refusal = refusal
  }

  /** @throws OrielError `rate_limited`; as the work does */
  async take<T>(client: string, work: () => Promise<T>): Promise<T> {
    const waiting = this.#waiting.get(client) ?? []
    if (waiting.length >= this.#most.waitingOfOne)
      throw new OrielError('rate_limited', this.#refusal, { code: 'too_many_waiting', retryAfter: 1 })
    await new Promise<void>((resolve) => {
      waiting.push(resolve)
      this.#waiting.set(client, waiting)
      this.#start()
    })
    try {
      return await work()
    } finally {
      this.#count(client, -1)
      this.#start()
    }
  }

  #start(): void {
    for (const [client, waiting] of this.#waiting) {
      if (this.#runningNow === this.#most.running) return
      if ((this.#running.get(client) ?? 0) === this.#most.runningOfOne) continue
      const begin = waiting.shift()
      // To the end of the line: the loop comes to it again after the others.
      this.#waiting.delete(client)
      if (waiting.length > 0) this.#waiting.set(client, waiting)
      this.#count(client, 1)
      begin?.()
    }
  }

  #count(client: string, change: number): void {
    const running = (this.#running.get(client) ?? 0) + change
    this.#runningNow += change
    if (running === 0) this.#running.delete(client)
    else this.#running.set(client, running)
  }
}
