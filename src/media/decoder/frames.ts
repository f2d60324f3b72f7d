import type { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'

/**
 * The framing of messages between the server and its decoders: two little-endian uint32 (length of the JSON, length of
 * the payload), the JSON, the payload. Pixels are not parsed, and they are copied chunk by chunk, so that a large message
 * does not block the event loop.
 */

const headBytes = 8
/** A longer frame means that the decoder is broken or compromised. */
const maxBytes = { json: 1_000_000, payload: 1_000_000_000 }

/** Characters of a text that are encoded and written in one turn of the event loop. */
const pieceLength = 256_000

/**
 * Writes one message. The next one must wait until the other side has answered, since a long text is written piece by piece.
 * @param payload text is sent as UTF-8
 */
export function writeFrame(socket: Socket, message: object, payload: Uint8Array | string = ''): void {
  const json = Buffer.from(JSON.stringify(message))
  const head = Buffer.allocUnsafe(headBytes)
  head.writeUInt32LE(json.length, 0)
  head.writeUInt32LE(Buffer.byteLength(payload), 4)
  socket.write(Buffer.concat([head, json]))
  if (typeof payload === 'string') void writeText(socket, payload)
  else if (payload.length > 0) socket.write(payload)
}

async function writeText(socket: Socket, text: string): Promise<void> {
  let at = 0
  while (at < text.length && !socket.destroyed) {
    if (at > 0) await nextTurn()
    // Two halves of one character stay together.
    const isHalf = /[\ud800-\udbff]/.test(text[at + pieceLength - 1] ?? '')
    const end = at + pieceLength - (isHalf ? 1 : 0)
    socket.write(text.slice(at, end))
    at = end
  }
}

/** Calls `onFrame` for each message. A stream that does not follow the framing destroys the socket. */
export function readFrames(socket: Socket, onFrame: (message: unknown, payload: Buffer) => void): void {
  let section = new Section(headBytes)
  let json: Section | undefined
  let payloadBytes = 0
  let message: unknown

  const next = (): void => {
    if (message !== undefined) {
      const [frame, payload] = [message, section.bytes]
      message = undefined
      json = undefined
      section = new Section(headBytes)
      onFrame(frame, payload)
    } else if (json === undefined) {
      const jsonBytes = section.bytes.readUInt32LE(0)
      payloadBytes = section.bytes.readUInt32LE(4)
      if (jsonBytes > maxBytes.json || payloadBytes > maxBytes.payload) throw new Error('a frame is too large')
      json = section = new Section(jsonBytes)
    } else {
      message = JSON.parse(section.bytes.toString())
      section = new Section(payloadBytes)
    }
  }

  socket.on('data', (chunk: Buffer) => {
    try {
      let rest = chunk
      while (rest.length > 0 || (section.full && message !== undefined)) {
        rest = section.fill(rest)
        if (section.full) next()
      }
    } catch (error) {
      socket.destroy(error instanceof Error ? error : new Error('a frame cannot be read'))
    }
  })
}

/** A section of known length of the stream, filled as its bytes arrive. */
class Section {
  readonly bytes: Buffer
  #filled = 0

  constructor(length: number) {
    this.bytes = Buffer.allocUnsafeSlow(length)
  }

  get full(): boolean {
    return this.#filled === this.bytes.length
  }

  /** @returns the bytes that belong to the next section */
  fill(chunk: Buffer): Buffer {
    const taken = Math.min(chunk.length, this.bytes.length - this.#filled)
    chunk.copy(this.bytes, this.#filled, 0, taken)
    this.#filled += taken
    return chunk.subarray(taken)
  }
}
