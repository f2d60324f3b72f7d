/** A queue of events for one reader, who reads at its own pace. */
export class EventQueue<T> implements AsyncIterable<T> {
  readonly #merge: (waiting: T, next: T) => T | undefined
  readonly #waiting: { event: T; parts: number }[] = []
  #unread = 0
  #failure: { readonly error: unknown } | undefined
  #wake: (() => void) | undefined

  /** @param merge joins an event to the last unread one; undefined if the two must stay apart, as they do by default */
  constructor(merge: (waiting: T, next: T) => T | undefined = () => undefined) {
    this.#merge = merge
  }

  /** Events that the reader has not taken. Each counts, joined or not. */
  get unread(): number {
    return this.#unread
  }

  push(event: T): void {
    this.#unread++
    const last = this.#waiting.at(-1)
    const merged = last === undefined ? undefined : this.#merge(last.event, event)
    if (last === undefined || merged === undefined) this.#waiting.push({ event, parts: 1 })
    else Object.assign(last, { event: merged, parts: last.parts + 1 })
    this.#wake?.()
  }

  /** Ends the reading with an error at once. Unread events are dropped. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure.error
      const next = this.#waiting.shift()
      if (next !== undefined) {
        this.#unread -= next.parts
        yield next.event
        continue
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
  }
}
