import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { deferred } from '../../deferred.ts'
import { cancelled, OrielError } from '../../errors.ts'
import type { Turns } from '../../turns.ts'
import { within } from '../../within.ts'
import type { HeldBody } from './body-memory.ts'

/** How long the bytes of a body may stay away, in ms, and how many must arrive in a second after that time. */
interface Pace {
  readonly idleMs: number
  readonly bytesPerSecond: number
}

/** Reads what is in a body as its bytes arrive. */
export interface BodyReader {
  /** Memory that what was read takes beyond its bytes, in bytes. */
  readonly overhead: number
  /** @throws OrielError `invalid`, `too_large` */
  push(chunk: Buffer): Promise<void> | void
  /** @returns what the body says @throws OrielError `invalid`, `too_large` */
  end(): unknown
}

interface ReadOptions {
  readonly reader: BodyReader
  readonly held: HeldBody
  readonly maxBytes: number
  /** Of all bodies. */
  readonly turns: Turns
  readonly pace?: Pace
}

/** The first bytes of a body are read at once: most bodies have no more. */
const withoutTurns = 64_000
const usualPace: Pace = { idleMs: 15_000, bytesPerSecond: 16_000 }
/** Connections of bodies that may take longer than other requests, at this pace. */
export const unhurried = new WeakSet<Socket>()
/** How long the rest of a refused body is dropped, in ms. */
const lingerMs = 5000

/**
 * Reads a body as it arrives. Its memory is taken before its bytes are read.
 * @returns what the reader makes of it
 * @throws OrielError `too_large`, `overloaded`, `timeout`, `invalid`, `cancelled` when the client leaves
 */
export async function readBody(
  stream: IncomingMessage,
  { reader, held, maxBytes, turns, pace = usualPace }: ReadOptions,
): Promise<unknown> {
  const declared = Number(stream.headers['content-length'] ?? 0)
  if (declared > maxBytes) throw tooLarge(maxBytes)
  await held.grow(declared)
  await readBytes(
    stream,
    (chunk, received) => {
      if (received > maxBytes) throw tooLarge(maxBytes)
      const memory = held.grow(received + reader.overhead)
      if (memory === undefined && received <= withoutTurns) return reader.push(chunk)
      return Promise.all([memory, turns.next()]).then(() => reader.push(chunk))
    },
    pace,
  )
  return reader.end()
}

/**
 * Waits for all chunks of a body. A slow `onChunk` stops the stream meanwhile.
 * @param onChunk is told how many bytes there are, those of the chunk included
 * @throws OrielError `timeout`, `cancelled`; and as `onChunk` does
 */
export async function readBytes(
  stream: IncomingMessage,
  onChunk: (chunk: Buffer, received: number) => Promise<void> | void,
  { idleMs, bytesPerSecond }: Pace = usualPace,
): Promise<void> {
  if (stream.destroyed) throw cancelled()
  const { promise, resolve, reject } = deferred<void>()
  let received = 0
  let waited = 0
  let since = 0
  let timer: NodeJS.Timeout | undefined
  let working = Promise.resolve()
  const wait = (): void => {
    since = performance.now()
    const late = idleMs + (received / bytesPerSecond) * 1000 - waited
    timer = setTimeout(() => reject(tooSlow(received)), Math.min(idleMs, late))
  }
  const take = (chunk: Buffer): void => {
    clearTimeout(timer)
    waited += performance.now() - since
    received += chunk.length
    try {
      const busy = onChunk(chunk, received)
      if (busy === undefined) wait()
      else {
        stream.pause()
        working = busy.then(wait)
        working.then(() => stream.resume(), reject)
      }
    } catch (error) {
      reject(error)
    }
  }
  // The end may come while the last chunk waits.
  const end = (): void => void working.then(resolve, reject)
  const leave = (): void => void working.then(() => reject(cancelled()), reject)
  stream.on('data', take).on('end', end).on('error', leave).on('close', leave)
  wait()
  return promise.finally(() => {
    clearTimeout(timer)
    stream.off('data', take).off('end', end).off('close', leave)
  })
}

/** Drops what still comes of a body that was refused, until all has come or it has taken long. */
export async function dropRest(stream: IncomingMessage): Promise<void> {
  if (stream.complete || stream.destroyed) return
  const { promise, resolve } = deferred<void>()
  stream.once('end', resolve).once('close', resolve).resume()
  await within(lingerMs, promise)
}

const tooLarge = (maxBytes: number): OrielError =>
  new OrielError('too_large', `The request body is larger than ${maxBytes} bytes, the limit of this server.`, {
    code: 'body_too_large',
  })

const tooSlow = (received: number): OrielError =>
  new OrielError('timeout', `The request body did not arrive in time: only ${received} bytes of it came.`, {
    code: 'body_timeout',
  })
