import { setImmediate as nextTurn } from 'node:timers/promises'
import type { ToEngine } from './protocol.ts'

/** The message that brings the bytes of an attachment. */
type PayloadMessage = Extract<ToEngine, { type: 'payload' }>

/** A part of a payload on the way to the engine process. The parts of one payload come in order. */
export interface Piece {
  type: 'piece'
  id: number
  hash: string
  /** Bytes of the whole payload; 0: its request is over, and no further part comes. */
  total: number
  /** Where in the payload the part begins. */
  at: number
  bytes: Uint8Array
}

/** A payload whose bytes lie in several arrays. */
export interface PayloadParts {
  id: number
  hash: string
  /** Not joined: of two large frames that would block the event loop for 180 ms, and need as much memory once more. */
  parts: readonly Uint8Array[]
}

/** Bytes of one part. Both processes copy it several times, which takes about a millisecond in memory that is new. */
const pieceBytes = 256_000

/**
 * Sends a payload part by part, one in each turn of the event loop. Sent at once, the 3 MB of an image kept the tokens of
 * running answers waiting in both processes for 30 ms.
 * @param send resolves when a part is written
 */
export async function sendInPieces(
  { id, hash, parts }: PayloadParts,
  send: (piece: Piece) => Promise<void>,
): Promise<void> {
  const lengths = parts.map(({ length }) => length)
  const total = lengths.reduce((sum, length) => sum + length, 0)
  let start = 0
  for (const [index, part] of parts.entries()) {
    const length = lengths[index] ?? 0
    for (let from = 0; from < length; from += pieceBytes) {
      const at = start + from
      // The request is over, and its pixels are freed.
      if (part.length === 0) return send({ type: 'piece', id, hash, total: 0, at, bytes: new Uint8Array() })
      await send({ type: 'piece', id, hash, total, at, bytes: part.subarray(from, from + pieceBytes) })
      await nextTurn()
    }
    start += length
  }
}

/** Puts payloads together again. @returns a function that returns each payload with its last part */
export function joinPieces(): (piece: Piece) => PayloadMessage | undefined {
  const open = new Map<string, Uint8Array>()
  return ({ id, hash, total, at, bytes }) => {
    const name = `${id} ${hash}`
    if (total === 0) return void open.delete(name)
    const whole = at === 0 ? new Uint8Array(total) : open.get(name)
    if (whole === undefined) return undefined
    whole.set(bytes, at)
    if (at + bytes.length < total) return void open.set(name, whole)
    open.delete(name)
    return { type: 'payload', id, hash, bytes: whole }
  }
}
