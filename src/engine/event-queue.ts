/** A queue of events for one reader, who reads at its own pace. */
export class EventQueue<T> implements AsyncIterable<T> {
  readonly #merge: (waiting: T, next: T) => T | undefined
  readonly #waiting: T[] = []
  /** Events since the reader last had read all of them. */
  #unread = 0
  #error: Error | undefined
  #wake: (() => void) | undefined

  /** @param merge joins an event to the last unread one; undefined if the two must stay apart */
  constructor(merge: (waiting: T, next: T) => T | undefined) {
    this.#merge = merge
  }

  /** How far the reader is behind, in events. */
  get unread(): number {
    return this.#unread
  }

  push(event: T): void {
    this.#unread++
    const last = this.#waiting.at(-1)
    const merged = last === undefined ? undefined : this.#merge(last, event)
    if (merged === undefined) this.#waiting.push(event)
    else this.#waiting[this.#waiting.length - 1] = merged
    this.#wake?.()
  }

  /** Ends the reading with an error at once. Unread events are dropped. */
  fail(error: Error): void {
    this.#error ??= error
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error
      const next = this.#waiting.shift()
      if (next !== undefined) {
        if (this.#waiting.length === 0) this.#unread = 0
        yield next
        continue
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
  }
}
