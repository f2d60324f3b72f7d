import type { ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { frameHead, openFrames, socketOf } from '../children/index.ts'
import type { ToEngine } from './protocol.ts'

/**
 * The bytes of attachments go to the engine process over a socket of their own, as they are. Over the channel of its messages
 * they were serialized: more copies, and so much for the garbage collector of both processes that running answers waited for it.
 */

/** Where the engine process has that socket. */
export const payloadFd = 4

/** The message that brings the bytes of an attachment. */
type PayloadMessage = Extract<ToEngine, { type: 'payload' }>

/** A part of a payload on the way to the engine process, before its bytes. The parts of one payload come in order. */
interface Piece {
  id: number
  hash: string
  /** Bytes of the whole payload; 0: its request is over, and no further part comes. */
  total: number
  /** Where in the payload the part begins. */
  at: number
}

/** A payload whose bytes lie in several arrays. */
export interface PayloadParts {
  id: number
  hash: string
  /** Not joined: of two large frames that would block the event loop for 180 ms, and need as much memory once more. */
  parts: readonly Uint8Array[]
}

/** Bytes of one part. Copying and reading it takes much less than a millisecond. */
const pieceBytes = 256_000

/** The server's end. It sends one payload after the other. */
export class PayloadWriter {
  readonly #socket: Socket
  /** The part that is being written: the attachment may be freed meanwhile. */
  readonly #memory = Buffer.allocUnsafeSlow(pieceBytes)
  #last: Promise<unknown> = Promise.resolve()

  constructor(child: ChildProcess) {
    this.#socket = socketOf(child, payloadFd)
    // The exit of the process says so too.
    this.#socket.on('error', () => {})
  }

  /**
   * Sends a payload part by part, one in each turn of the event loop. Sent at once, the 3 MB of an image kept the tokens of
   * running answers waiting in both processes for 30 ms.
   * @returns false if it was freed before it was sent
   */
  send(payload: PayloadParts): Promise<boolean> {
    const sent = this.#last.then(() => this.#send(payload))
    this.#last = sent
    return sent
  }

  async #send({ id, hash, parts }: PayloadParts): Promise<boolean> {
    const lengths = parts.map(({ length }) => length)
    const total = lengths.reduce((sum, length) => sum + length, 0)
    if (lengths.includes(0)) return false
    let start = 0
    for (const [index, part] of parts.entries()) {
      const length = lengths[index] ?? 0
      for (let from = 0; from < length && !this.#socket.destroyed; from += pieceBytes) {
        const at = start + from
        if (part.length === 0) {
          await this.#write({ id, hash, total: 0, at })
          return false
        }
        await this.#write({ id, hash, total, at }, part.subarray(from, from + pieceBytes))
        await nextTurn()
      }
      start += length
    }
    return true
  }

  /** @returns when it is written, or cannot be */
  #write(piece: Piece, bytes: Uint8Array = new Uint8Array()): Promise<void> {
    this.#memory.set(bytes)
    return new Promise((resolve) => {
      this.#socket.cork()
      this.#socket.write(frameHead(piece, bytes.length))
      this.#socket.write(this.#memory.subarray(0, bytes.length), () => resolve())
      this.#socket.uncork()
    })
  }
}

/** The engine's end: reads the parts of payloads into their places. @param onPayload called with each that is whole */
export function readPayloads(onPayload: (message: PayloadMessage) => void): void {
  let whole = Buffer.alloc(0)
  openFrames(payloadFd, {
    placeOf(message, bytes) {
      const { total, at } = message as Piece
      if (total === 0 || at === 0) whole = Buffer.allocUnsafeSlow(total)
      return whole.subarray(at, at + bytes)
    },
    onFrame(message, { length }) {
      const { id, hash, total, at } = message as Piece
      if (total === 0 || at + length < total) return
      onPayload({ type: 'payload', id, hash, bytes: whole })
      whole = Buffer.alloc(0)
    },
  })
}
