/**
 * The text of one answer as its tokens arrive. It contains whole characters only, and no part of a stop string: text that
 * may be the start of one is held back until that is decided.
 */
export class AnswerText {
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  readonly #stop: readonly string[]
  readonly #includeStop: boolean
  #held = ''
  /** The stop string that has ended the answer. */
  stoppedBy: string | null = null

  /** @param includeStop whether the text has the stop string that ends it */
  constructor(stop: readonly string[], includeStop = false) {
    this.#includeStop = includeStop
    this.#stop = stop.filter((text) => text !== '')
  }

  get stopped(): boolean {
    return this.stoppedBy !== null
  }

  /**
   * @param bytes of the next token
   * @param mayStop whether a stop string ends the answer
   * @returns the text that can be emitted now
   */
  push(bytes: Uint8Array, mayStop = true): string {
    this.#held += this.#decoder.decode(bytes, { stream: true })
    if (!mayStop) return this.#take(this.#held.length)
    const end = this.#firstStop()
    if (end !== undefined) {
      this.stoppedBy = end.text
      return this.#take(end.at + (this.#includeStop ? end.text.length : 0))
    }
    return this.#take(this.#held.length - this.#possibleStop())
  }

  /** To be called after the last token. @returns the text that was held back */
  finish(): string {
    if (this.stopped) return ''
    this.#held += this.#decoder.decode()
    return this.#take(this.#held.length)
  }

  #take(length: number): string {
    const text = this.#held.slice(0, length)
    this.#held = this.#held.slice(length)
    return text
  }

  #firstStop(): { text: string; at: number } | undefined {
    return this.#stop
      .map((text) => ({ text, at: this.#held.indexOf(text) }))
      .filter(({ at }) => at >= 0)
      .sort((a, b) => a.at - b.at)[0]
  }

  /** Length of the longest suffix of the held text that is the start of a stop string. */
  #possibleStop(): number {
    let longest = 0
    for (const text of this.#stop)
      for (let length = Math.min(text.length - 1, this.#held.length); length > longest; length--)
        if (this.#held.endsWith(text.slice(0, length))) longest = length
    return longest
  }
}
