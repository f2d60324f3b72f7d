/**
 * The stored sequences and their paths, in a radix tree for each isolation key, so that one key never finds what another
 * has stored. A path is a list of cells as in `PromptCells`.
 *
 * The tree holds names only. Its owner shares the cells of the sequence that `match` returns, and frees the sequences that
 * `insert` and `evict` return. Look-ups do not change the order of eviction; `touch` does.
 */
export class PrefixTree {
  readonly #roots = new Map<string, Node>()
  /** Stored sequences, the least recently used first: a Map keeps the order of insertion. */
  readonly #stored = new Map<number, { key: string; path: Float64Array }>()

  get size(): number {
    return this.#stored.size
  }

  sequences(): Iterable<number> {
    return this.#stored.keys()
  }

  /** The longest stored prefix of `path`, a sequence that holds it, and the number of cells `of` that sequence. */
  match(key: string, path: ArrayLike<number>): { sequence: number; length: number; of: number } | undefined {
    let node = this.#roots.get(key)
    let length = 0
    let found: number | undefined
    while (node !== undefined) {
      const child: Node | undefined = node.children.get(path[length] ?? Number.NaN)
      if (child === undefined) break
      const common = commonLength(child.edge, path, length)
      length += common
      found = this.#shortest(child.sequences)
      node = common === child.edge.length ? child : undefined
    }
    if (found === undefined) return undefined
    return { sequence: found, length, of: this.#stored.get(found)?.path.length ?? length }
  }

  /** Makes a stored sequence the most recently used one. Other sequences are ignored. */
  touch(sequence: number): void {
    const entry = this.#stored.get(sequence)
    if (entry === undefined) return
    this.#stored.delete(sequence)
    this.#stored.set(sequence, entry)
  }

  /**
   * Stores that `sequence` holds `path`, as the most recently used.
   * @returns the sequences that are redundant now: those whose whole path is a prefix of this one, or `sequence` itself
   * if another one, which is used by that, holds all of its path
   */
  insert(key: string, path: Float64Array, sequence: number): number[] {
    if (path.length === 0) return [sequence]
    const known = this.match(key, path)
    if (known?.length === path.length) {
      this.touch(known.sequence)
      return [sequence]
    }
    const covered: number[] = []
    let node = this.#roots.get(key) ?? newNode(new Float64Array())
    this.#roots.set(key, node)
    let at = 0
    while (at < path.length) {
      const rest = path.subarray(at)
      let child = node.children.get(rest[0] as number) ?? newNode(rest)
      node.children.set(rest[0] as number, child)
      const common = commonLength(child.edge, rest, 0)
      if (common < child.edge.length) child = split(node, child, common)
      child.sequences.add(sequence)
      at += child.edge.length
      for (const other of child.sequences) if (this.#stored.get(other)?.path.length === at) covered.push(other)
      node = child
    }
    this.#stored.set(sequence, { key, path })
    for (const other of covered) this.remove(other)
    return covered
  }

  /** Removes the least recently used sequence. @returns undefined if nothing is stored */
  evict(): { sequence: number; key: string; path: Float64Array } | undefined {
    const [oldest] = this.#stored
    if (oldest === undefined) return undefined
    const [sequence, entry] = oldest
    this.remove(sequence)
    return { sequence, ...entry }
  }

  remove(sequence: number): void {
    const entry = this.#stored.get(sequence)
    if (entry === undefined) return
    this.#stored.delete(sequence)
    const root = this.#roots.get(entry.key)
    let node = root
    for (let at = 0; node !== undefined && at < entry.path.length; ) {
      const first = entry.path[at] as number
      const child: Node | undefined = node.children.get(first)
      if (child === undefined) break
      child.sequences.delete(sequence)
      // No sequence holds this node, so none holds the nodes below it.
      if (child.sequences.size === 0) {
        node.children.delete(first)
        break
      }
      at += child.edge.length
      node = child
    }
    if (root?.children.size === 0) this.#roots.delete(entry.key)
  }

  /** When only a part of a sequence is shared, the shortest sequence costs least to copy. */
  #shortest(sequences: ReadonlySet<number>): number | undefined {
    let found: number | undefined
    let least = Number.POSITIVE_INFINITY
    for (const sequence of sequences) {
      const length = this.#stored.get(sequence)?.path.length ?? least
      if (length < least) [found, least] = [sequence, length]
    }
    return found
  }
}

interface Node {
  edge: Float64Array
  /** By the first cell of their edge. */
  children: Map<number, Node>
  /** Stored sequences whose path contains the whole of this edge. */
  sequences: Set<number>
}

const newNode = (edge: Float64Array): Node => ({ edge, children: new Map(), sequences: new Set() })

/** Splits a child's edge in two. @returns the upper part, which is between `parent` and `child` now */
function split(parent: Node, child: Node, at: number): Node {
  const upper = newNode(child.edge.subarray(0, at))
  child.edge = child.edge.subarray(at)
  upper.children.set(child.edge[0] as number, child)
  upper.sequences = new Set(child.sequences)
  parent.children.set(upper.edge[0] as number, upper)
  return upper
}

/** Number of cells that `path` from `at` on has in common with the start of `edge`, up to `most`. */
export function commonLength(
  edge: ArrayLike<number>,
  path: ArrayLike<number>,
  at = 0,
  most = Math.min(edge.length, path.length - at),
): number {
  let length = 0
  while (length < most && edge[length] === path[at + length]) length++
  return length
}
