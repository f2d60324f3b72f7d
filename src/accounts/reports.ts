/** Reports that are read at the same time: keys and rows need connections to the database, too. */
const atOnce = 2

/** Gives turns to reports, which may take seconds: one of each reader at a time, and the next one to another reader. */
export class Reports {
  readonly #waiting = new Map<string, (() => void)[]>()
  readonly #running = new Set<string>()

  async read<T>(reader: string, work: () => Promise<T>): Promise<T> {
    await new Promise<void>((resolve) => {
      this.#waiting.set(reader, [...(this.#waiting.get(reader) ?? []), resolve])
      this.#start()
    })
    try {
      return await work()
    } finally {
      this.#running.delete(reader)
      this.#start()
    }
  }

  #start(): void {
    for (const [reader, [first, ...others]] of [...this.#waiting]) {
      if (this.#running.size === atOnce) return
      if (this.#running.has(reader)) continue
      this.#waiting.delete(reader)
      if (others.length > 0) this.#waiting.set(reader, others)
      this.#running.add(reader)
      first?.()
    }
  }
}
