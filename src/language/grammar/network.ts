/**
 * What an edge does before it leads on: it reads a byte between two, nothing, or a token, or calls a rule. A branch reads
 * a byte too; its target is a state of a prefix tree, to which no other edge leads.
 */
export const EdgeKind = { bytes: 0, branch: 1, empty: 2, call: 3, token: 4, otherToken: 5 } as const
export type EdgeKind = (typeof EdgeKind)[keyof typeof EdgeKind]

/** A grammar as states with edges between them: one small network for each rule. */
export class Network {
  /** The first edge of each state, -1 if it has none: an index into `edges`. */
  readonly firsts: Numbers
  /** Five numbers each: kind, two operands (bytes, rule or token), target, and the next edge of the same state or -1. */
  readonly edges: Numbers
  readonly root: number
  /** First states of the rules. */
  readonly starts: Int32Array
  /** A number for each rule that is larger than those of all rules that may begin with it. */
  readonly order: Int32Array
  /** Memory that it takes. */
  readonly bytes: number
  /** 1 for the last states of rules. */
  readonly #finals: Uint8Array

  constructor(
    { firsts, edges }: { firsts: Numbers; edges: Numbers },
    rules: { root: number; starts: Int32Array; order: Int32Array; finals: Uint8Array },
  ) {
    this.firsts = firsts
    this.edges = edges
    this.root = rules.root
    this.starts = rules.starts
    this.order = rules.order
    this.#finals = rules.finals
    this.bytes = [firsts, edges, rules.starts, rules.order, rules.finals].reduce((sum, one) => sum + one.byteLength, 0)
  }

  /** Number of states. */
  get size(): number {
    return this.firsts.length
  }

  /** Whether a state is the last one of a rule. */
  isFinal(state: number): boolean {
    return this.#finals[state] === 1
  }

  /** Whether nothing but the end of its rule follows a state. */
  isTail(state: number): boolean {
    let at = state
    for (let steps = 0; steps < 8; steps++) {
      const edge = this.firsts.at(at)
      if (this.isFinal(at)) return true
      if (edge < 0 || this.edges.at(edge) !== EdgeKind.empty || this.edges.at(edge + 4) >= 0) return false
      at = this.edges.at(edge + 3)
    }
    return false
  }
}

/** A list of 32-bit numbers: a grammar has hundreds of thousands. */
export class Numbers {
  length = 0
  #numbers = new Int32Array(1024)

  get byteLength(): number {
    return this.#numbers.byteLength
  }

  at(index: number): number {
    return this.#numbers[index] as number
  }

  set(index: number, value: number): void {
    this.#numbers[index] = value
  }

  push(value: number): void {
    if (this.length === this.#numbers.length) {
      const longer = new Int32Array(2 * this.length)
      longer.set(this.#numbers)
      this.#numbers = longer
    }
    this.#numbers[this.length++] = value
  }

  /** Gives back the memory for more numbers. */
  trim(): this {
    this.#numbers = this.#numbers.slice(0, this.length)
    return this
  }
}
