import { type Deferred, deferred } from '../../deferred.ts'
import { cancelled, OrielError } from '../../errors.ts'

/** How long a body waits for memory, all its waits together, in ms. */
const longestWait = 5000
/** Bodies that may wait. Each has some bytes in the buffers of its connection. */
const mostWaiting = 256
/** A body of this size has its memory whatever else its client has, as long as there is any. Bytes. */
const smallBody = 64_000

interface Waiting {
  readonly body: HeldBody
  readonly bytes: number
  readonly granted: Deferred<void>
}

/**
 * The memory for the bodies of all requests, from the first byte to the end of the answer. A client that has some gets more
 * only while as much as it would have remains free. So one client has half of it at most, two a third each, and a client
 * that has nothing yet finds space.
 */
export class BodyMemory {
  readonly #capacity: number
  readonly #held = new Map<string, number>()
  readonly #waiting = new Set<Waiting>()
  #total = 0

  /** @param capacity in bytes */
  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** A body that has no memory yet. @param client who pays for it */
  open(client: string): HeldBody {
    return new HeldBody(client, this)
  }

  /** Gives a body more memory. @returns undefined if that is possible at once @throws OrielError `overloaded` */
  take(body: HeldBody, bytes: number): Promise<void> | undefined {
    if (this.#fits(body, bytes)) {
      this.#give(body, bytes)
      return undefined
    }
    if (this.#waiting.size >= mostWaiting) throw tooManyBodies()
    return this.#wait({ body, bytes, granted: deferred() })
  }

  giveBack({ client, bytes }: HeldBody): void {
    this.#add(client, -bytes)
    for (const waiting of this.#waiting) {
      if (!this.#fits(waiting.body, waiting.bytes)) continue
      this.#waiting.delete(waiting)
      this.#give(waiting.body, waiting.bytes)
      waiting.granted.resolve()
    }
  }

  async #wait(waiting: Waiting): Promise<void> {
    const { body, granted } = waiting
    const since = performance.now()
    this.#waiting.add(waiting)
    // At once: a body that has left must not be given memory, which nobody would give back.
    const leave = (why: OrielError): void => {
      this.#waiting.delete(waiting)
      granted.reject(why)
    }
    const timer = setTimeout(() => leave(tooManyBodies()), longestWait - body.waited)
    body.onRelease = () => leave(cancelled())
    try {
      await granted.promise
    } finally {
      clearTimeout(timer)
      body.waited += performance.now() - since
    }
  }

  #fits(body: HeldBody, bytes: number): boolean {
    const free = this.#capacity - this.#total
    if (bytes > free) return false
    const held = this.#held.get(body.client) ?? 0
    return held === body.bytes || body.bytes + bytes <= smallBody || held + bytes <= free - bytes
  }

  #give(body: HeldBody, bytes: number): void {
    body.bytes += bytes
    this.#add(body.client, bytes)
  }

  #add(client: string, bytes: number): void {
    const held = (this.#held.get(client) ?? 0) + bytes
    if (held === 0) this.#held.delete(client)
    else this.#held.set(client, held)
    this.#total += bytes
  }
}

/** The memory of one body. */
export class HeldBody {
  readonly client: string
  readonly #memory: BodyMemory
  bytes = 0
  /** Time that it has waited for memory, in ms. */
  waited = 0
  /** Ends its wait for memory. */
  onRelease = (): void => {}
  #released = false

  constructor(client: string, memory: BodyMemory) {
    this.client = client
    this.#memory = memory
  }

  /** Has at least this many bytes from now on. @returns undefined if it has them at once @throws OrielError `overloaded` */
  grow(bytes: number): Promise<void> | undefined {
    return bytes <= this.bytes ? undefined : this.#memory.take(this, bytes - this.bytes)
  }

  /** Gives all of it back. */
  release(): void {
    if (this.#released) return
    this.#released = true
    this.onRelease()
    this.#memory.giveBack(this)
  }
}

const tooManyBodies = (): OrielError =>
  new OrielError(
    'overloaded',
    'The server holds too many request bodies, from this client or from all clients together. Send the request again later.',
    { code: 'too_many_bodies', retryAfter: 5 },
  )
