/** Words of 32 bits of a hash that are kept. */
const words = 2

/** Which of millions of hashes have come before. Each takes 16 bytes at most, where a set of texts would take a hundred. */
export class SeenHashes {
  #table = new Uint32Array(1024 * words)
  #count = 0
  readonly #most: number

  /** @param most hashes that are kept. Later ones count as new */
  constructor(most: number) {
    this.#most = most
  }

  /** @returns whether the hash has not come before */
  add(hash: Buffer): boolean {
    // An empty slot is two zeros.
    const [high, low] = [hash.readUInt32LE(0), hash.readUInt32LE(4) || 1]
    const at = this.#slotOf(high, low)
    if (this.#table[at + 1] !== 0) return false
    if (this.#count === this.#most) return true
    this.#put(at, high, low)
    if (++this.#count * 2 * words > this.#table.length) this.#grow()
    return true
  }

  /** Where a hash is, or would be. */
  #slotOf(high: number, low: number): number {
    const table = this.#table
    const slots = table.length / words
    for (let slot = high % slots; ; slot = (slot + 1) % slots) {
      const at = slot * words
      if (table[at + 1] === 0 || (table[at] === high && table[at + 1] === low)) return at
    }
  }

  #put(at: number, high: number, low: number): void {
    this.#table[at] = high
    this.#table[at + 1] = low
  }

  #grow(): void {
    const before = this.#table
    this.#table = new Uint32Array(before.length * 2)
    for (let at = 0; at < before.length; at += words) {
      const [high = 0, low = 0] = [before[at], before[at + 1]]
      if (low !== 0) this.#put(this.#slotOf(high, low), high, low)
    }
  }
}
