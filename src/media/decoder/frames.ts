import type { Socket } from 'node:net'

/**
 * Messages between the server and its decoders: two little-endian uint32 (length of the JSON, length of the payload), the
 * JSON, the payload. Pixels cross without being parsed, and in pieces, so that no message holds up the event loop.
 */

const headBytes = 8
/** A decoder that announces more has lost its mind, or somebody else has found it. */
const most = { json: 1_000_000, payload: 1_000_000_000 }

/** @param payload text is sent as UTF-8 */
export function writeFrame(socket: Socket, message: object, payload: Uint8Array | string = ''): void {
  const json = Buffer.from(JSON.stringify(message))
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload
  const head = Buffer.allocUnsafe(headBytes)
  head.writeUInt32LE(json.length, 0)
  head.writeUInt32LE(bytes.length, 4)
  socket.write(Buffer.concat([head, json]))
  if (bytes.length > 0) socket.write(bytes)
}

/** Calls `onFrame` for each message; a stream that is none of these destroys the socket. */
export function readFrames(socket: Socket, onFrame: (message: unknown, payload: Buffer) => void): void {
  let part = new Part(headBytes)
  let json: Part | undefined
  let payloadBytes = 0
  let message: unknown

  const next = (): void => {
    if (message !== undefined) {
      const [frame, payload] = [message, part.bytes]
      message = undefined
      json = undefined
      part = new Part(headBytes)
      onFrame(frame, payload)
    } else if (json === undefined) {
      const jsonBytes = part.bytes.readUInt32LE(0)
      payloadBytes = part.bytes.readUInt32LE(4)
      if (jsonBytes > most.json || payloadBytes > most.payload) throw new Error('a frame is too large')
      json = part = new Part(jsonBytes)
    } else {
      message = JSON.parse(part.bytes.toString())
      part = new Part(payloadBytes)
    }
  }

  socket.on('data', (chunk: Buffer) => {
    try {
      let rest = chunk
      while (rest.length > 0 || (part.full && message !== undefined)) {
        rest = part.take(rest)
        if (part.full) next()
      }
    } catch (error) {
      socket.destroy(error instanceof Error ? error : new Error('a frame cannot be read'))
    }
  })
}

/** A stretch of the stream whose length is known, filled as it comes. */
class Part {
  readonly bytes: Buffer
  #filled = 0

  constructor(length: number) {
    this.bytes = Buffer.allocUnsafeSlow(length)
  }

  get full(): boolean {
    return this.#filled === this.bytes.length
  }

  /** @returns what belongs to the next part */
  take(chunk: Buffer): Buffer {
    const taken = Math.min(chunk.length, this.bytes.length - this.#filled)
    chunk.copy(this.bytes, this.#filled, 0, taken)
    this.#filled += taken
    return chunk.subarray(taken)
  }
}
