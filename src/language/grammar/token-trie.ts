import type { Slices } from '../../slices.ts'

/**
 * The tokens of a vocabulary by their bytes, as a prefix tree in the order of a depth-first walk. Its nodes are numbers
 * from 0 to before `size`; the root is not one of them.
 */
export interface TokenTrie {
  readonly size: number
  /** Last byte of each node. */
  readonly bytes: Uint8Array
  /** Number of bytes of each node, from 1. */
  readonly depths: Uint16Array
  /** The node after all that are below each node. */
  readonly ends: Int32Array
  /** Tokens in the order of the nodes, and where those of each node begin; `[size + 1]`. */
  readonly tokens: Int32Array
  readonly firsts: Int32Array
}

/** Tokens that are read or written between two pauses. */
const tokensOfSlice = 2048

/** @param tokens ids and bytes; those without bytes are left out */
export function* tokenTrie(tokens: Iterable<readonly [id: number, bytes: Uint8Array]>): Slices<TokenTrie> {
  // One character for each byte: V8 sorts strings faster than buffers.
  const ids = new Map<string, number[]>()
  /** Those with the same first two bytes: to sort all at once takes long. */
  const groups = new Map<string, string[]>()
  let read = 0
  for (const [id, bytes] of tokens) {
    if (bytes.length === 0) continue
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
    const same = ids.get(text)
    if (same !== undefined) same.push(id)
    else {
      ids.set(text, [id])
      const start = text.slice(0, 2)
      const group = groups.get(start)
      if (group === undefined) groups.set(start, [text])
      else group.push(text)
    }
    if (++read % tokensOfSlice === 0) yield
  }
  const bytes: number[] = []
  const depths: number[] = []
  const ends: number[] = []
  const sorted: number[] = []
  const firsts: number[] = []
  const path: number[] = []
  let before = ''
  const add = (text: string): void => {
    let shared = 0
    while (shared < before.length && before.charCodeAt(shared) === text.charCodeAt(shared)) shared++
    while (path.length > shared) ends[path.pop() as number] = bytes.length
    for (let at = shared; at < text.length; at++) {
      path.push(bytes.length)
      firsts.push(sorted.length)
      bytes.push(text.charCodeAt(at))
      depths.push(at + 1)
    }
    for (const id of ids.get(text) ?? []) sorted.push(id)
    before = text
  }
  let written = 0
  for (const [, group] of [...groups].sort(([a], [b]) => (a < b ? -1 : 1))) {
    for (const text of group.sort()) add(text)
    written += group.length
    if (written < tokensOfSlice) continue
    written = 0
    yield
  }
  for (const node of path) ends[node] = bytes.length
  firsts.push(sorted.length)
  return {
    size: bytes.length,
    bytes: Uint8Array.from(bytes),
    depths: Uint16Array.from(depths),
    ends: Int32Array.from(ends),
    tokens: Int32Array.from(sorted),
    firsts: Int32Array.from(firsts),
  }
}
