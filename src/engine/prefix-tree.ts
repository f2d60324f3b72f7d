/**
 * Which prefixes lie in the KV memory, and in which sequence. Paths are cells: a token's id, or a picture's place as a
 * negative number that stands for its pixels. A radix tree for each isolation key: what one key stored, no other finds.
 *
 * The tree only knows names. Whoever owns the KV memory shares cells of the sequence that `match` names, and forgets the
 * sequences that `insert` and `evict` return.
 */
export class PrefixTree {
  readonly #roots = new Map<string, Node>()
  /** Stored sequences from the longest unused to the last used: a Map keeps the order of insertion. */
  readonly #stored = new Map<number, { key: string; path: Float64Array }>()

  get size(): number {
    return this.#stored.size
  }

  sequences(): Iterable<number> {
    return this.#stored.keys()
  }

  /** The longest stored prefix of `path` and a sequence that holds it, which counts as its use. */
  match(key: string, path: ArrayLike<number>): { sequence: number; length: number } | undefined {
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
    this.#touch(found)
    return { sequence: found, length }
  }

  /**
   * Stores that `sequence` holds `path`.
   * @returns the sequences that nobody needs any more: those whose whole path is a prefix of this one, or `sequence`
   * itself if another holds all of its path already
   */
  insert(key: string, path: Float64Array, sequence: number): number[] {
    const known = this.match(key, path)
    if (path.length === 0 || (known !== undefined && known.length === path.length)) return [sequence]
    const covered: number[] = []
    let node = this.#root(key)
    let at = 0
    while (at < path.length) {
      const rest = path.subarray(at)
      let child = node.children.get(rest[0] as number)
      if (child === undefined) {
        child = newNode(rest)
        node.children.set(rest[0] as number, child)
      }
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

  /** Removes the sequence that went unused the longest. @returns undefined when nothing is stored */
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
      // Below a node that nobody holds there is nobody either.
      if (child.sequences.size === 0) {
        node.children.delete(first)
        break
      }
      at += child.edge.length
      node = child
    }
    if (root?.children.size === 0) this.#roots.delete(entry.key)
  }

  /** Where only a part is wanted the least is to be moved. */
  #shortest(sequences: ReadonlySet<number>): number | undefined {
    let found: number | undefined
    let least = Number.POSITIVE_INFINITY
    for (const sequence of sequences) {
      const length = this.#stored.get(sequence)?.path.length ?? least
      if (length < least) [found, least] = [sequence, length]
    }
    return found
  }

  #touch(sequence: number): void {
    const entry = this.#stored.get(sequence)
    if (entry === undefined) return
    this.#stored.delete(sequence)
    this.#stored.set(sequence, entry)
  }

  #root(key: string): Node {
    let root = this.#roots.get(key)
    if (root === undefined) {
      root = newNode(new Float64Array())
      this.#roots.set(key, root)
    }
    return root
  }
}

interface Node {
  edge: Float64Array
  /** By the first cell of their edge. */
  children: Map<number, Node>
  /** All stored sequences whose path runs through the whole of this edge. */
  sequences: Set<number>
}

const newNode = (edge: Float64Array): Node => ({ edge, children: new Map(), sequences: new Set() })

/** Cuts a child's edge in two. @returns the upper part, which now stands between `parent` and `child` */
function split(parent: Node, child: Node, at: number): Node {
  const upper = newNode(child.edge.subarray(0, at))
  child.edge = child.edge.subarray(at)
  upper.children.set(child.edge[0] as number, child)
  upper.sequences = new Set(child.sequences)
  parent.children.set(upper.edge[0] as number, upper)
  return upper
}

/** Cells that `path`, from its cell `at` on, has in common with `edge` from its start on, `most` at most. */
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
