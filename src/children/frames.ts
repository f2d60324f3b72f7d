import { type ConnectOpts, Socket, type SocketConstructorOpts } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { free } from '../free.ts'

/**
 * The framing of messages with bytes between a process and its children: two little-endian uint32 (length of the JSON, length
 * of the payload), the JSON, the payload. Pixels are not parsed, and they arrive chunk by chunk, so that a large message
 * does not block the event loop.
 */

const headBytes = 8
/** A longer frame means that the other process is broken or compromised. */
const maxBytes = { json: 1_000_000, payload: 1_000_000_000 }

/** Characters of a text that are encoded and written in one turn of the event loop. */
const pieceLength = 256_000

/** @returns the bytes of a message before its payload */
export function frameHead(message: object, payloadBytes: number): Buffer {
  const json = Buffer.from(JSON.stringify(message))
  const head = Buffer.allocUnsafe(headBytes)
  head.writeUInt32LE(json.length, 0)
  head.writeUInt32LE(payloadBytes, 4)
  return Buffer.concat([head, json])
}

/**
 * Writes one message. The next one must wait until the other side has answered, since a long text is written piece by piece.
 * @param payload text is sent as UTF-8; bytes must not be freed before they are written
 */
export function writeFrame(socket: Socket, message: object, payload: Uint8Array | string = ''): void {
  socket.write(frameHead(message, Buffer.byteLength(payload)))
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

export interface FrameReceiver {
  onFrame(message: unknown, payload: Buffer): void
  /** @returns memory for a payload of so many bytes, which is read there; by default new memory */
  placeOf?(message: unknown, bytes: number): Buffer
}

/** Reads messages of a child. A stream that does not follow the framing destroys the socket. */
export function readFrames(socket: Socket, receiver: FrameReceiver): void {
  const reader = new FrameReader(receiver)
  socket.on('data', (chunk: Buffer) =>
    orDestroy(socket, () => {
      for (let at = 0; at < chunk.length; ) {
        const copied = chunk.copy(reader.space, 0, at)
        at += copied
        reader.took(copied)
      }
      // It has memory of its own, and megabytes a second of it would make the garbage collector run all the time.
      if (chunk.length === chunk.buffer.byteLength) free(chunk)
    }),
  )
}

/**
 * Opens a child's end of a socket, and reads the messages of its parent where they belong, without chunks on the way.
 * A stream that does not follow the framing destroys the socket.
 */
export function openFrames(fd: number, receiver: FrameReceiver): Socket {
  const reader = new FrameReader(receiver)
  const options: SocketConstructorOpts & ConnectOpts = {
    fd,
    onread: {
      buffer: () => reader.space,
      callback: (bytes) => orDestroy(socket, () => reader.took(bytes)),
    },
  }
  const socket = new Socket(options)
  return socket
}

/** @returns whether nothing was thrown */
function orDestroy(socket: Socket, read: () => void): boolean {
  try {
    read()
    return true
  } catch (error) {
    socket.destroy(error instanceof Error ? error : new Error('a frame cannot be read'))
    return false
  }
}

/** Takes a stream apart: its next section is the lengths, the JSON, or the payload of a message. */
class FrameReader {
  readonly #receiver: FrameReceiver
  #section: Buffer = Buffer.allocUnsafeSlow(headBytes)
  #filled = 0
  #is: 'head' | 'json' | 'payload' = 'head'
  #payloadBytes = 0
  #message: unknown

  constructor(receiver: FrameReceiver) {
    this.#receiver = receiver
  }

  /** Where the next bytes belong. Never empty. */
  get space(): Buffer {
    return this.#section.subarray(this.#filled)
  }

  /** So many bytes are in their place. @throws Error if the stream does not follow the framing */
  took(bytes: number): void {
    this.#filled += bytes
    while (this.#filled === this.#section.length) this.#next(this.#section)
  }

  #next(section: Buffer): void {
    if (this.#is === 'head') {
      const [jsonBytes, payloadBytes] = [section.readUInt32LE(0), section.readUInt32LE(4)]
      if (jsonBytes > maxBytes.json || payloadBytes > maxBytes.payload) throw new Error('a frame is too large')
      this.#payloadBytes = payloadBytes
      this.#begin('json', Buffer.allocUnsafeSlow(jsonBytes))
    } else if (this.#is === 'json') {
      this.#message = JSON.parse(section.toString())
      const place = this.#receiver.placeOf?.(this.#message, this.#payloadBytes)
      if (place !== undefined && place.length !== this.#payloadBytes) throw new Error('a payload has no place')
      this.#begin('payload', place ?? Buffer.allocUnsafeSlow(this.#payloadBytes))
    } else {
      this.#begin('head', Buffer.allocUnsafeSlow(headBytes))
      this.#receiver.onFrame(this.#message, section)
    }
  }

  #begin(what: 'head' | 'json' | 'payload', section: Buffer): void {
    this.#is = what
    this.#section = section
    this.#filled = 0
  }
}
