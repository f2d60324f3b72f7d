import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Slices } from '../slices.ts'
import type { PromptCount, PromptToken } from './generation.ts'

/** The tokens of a prompt on the way between processes, which would take 100 ms for 100,000 objects. */
export interface PackedTokens {
  /** For each cell the place of its token among the different ones; -1: it has none. */
  readonly places: Int32Array
  /** Of the different tokens: ids, and the ends of their bytes. */
  readonly ids: Int32Array
  readonly ends: Int32Array
  readonly bytes: Uint8Array
}

/** A count with its tokens packed. */
export type PackedCount = Omit<PromptCount, 'tokens'> & { readonly tokens: PackedTokens }

/** Tokens of a slice: they take about a ms. */
const atOnce = 4096
/** Of one that only looks them up. */
const unpackedAtOnce = 65_536

/** @param cells a token's id, or a negative number for an embedding */
export function* packTokens(cells: ArrayLike<number>, bytesOf: (id: number) => Uint8Array): Slices<PackedTokens> {
  const places = new Int32Array(cells.length)
  const known = new Map<number, number>()
  const ids: number[] = []
  const ends: number[] = []
  const parts: Uint8Array[] = []
  let end = 0
  for (let at = 0; at < cells.length; at++) {
    if (at > 0 && at % atOnce === 0) yield
    const id = cells[at] ?? -1
    const place = id < 0 ? -1 : known.get(id)
    places[at] = place ?? ids.length
    if (place !== undefined) continue
    const bytes = bytesOf(id)
    end += bytes.length
    known.set(id, ids.push(id) - 1)
    ends.push(end)
    parts.push(bytes)
  }
  return { places, ids: Int32Array.from(ids), ends: Int32Array.from(ends), bytes: Buffer.concat(parts) }
}

/** Equal tokens are one object. */
export async function unpackTokens({ places, ids, ends, bytes }: PackedTokens): Promise<PromptCount['tokens']> {
  const known: PromptToken[] = []
  const tokenAt = (place: number): PromptToken => {
    const token = { id: ids[place] ?? -1, bytes: bytes.subarray(ends[place - 1] ?? 0, ends[place]) }
    known[place] = token
    return token
  }
  const tokens: (PromptToken | null)[] = []
  for (let at = 0; at < places.length; at++) {
    if (at > 0 && at % unpackedAtOnce === 0) await nextTurn()
    const place = places[at] ?? -1
    tokens.push(place < 0 ? null : (known[place] ?? tokenAt(place)))
  }
  return tokens
}
