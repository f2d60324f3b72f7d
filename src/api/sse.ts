import type { ServerResponse } from 'node:http'
import type { OrielError } from '../errors.ts'
import type { RequestContext, Transport } from './dialects/dialect.ts'
import { toOrielError } from './errors.ts'
import { jsonPieces } from './json-pieces.ts'
import { write, writePieces } from './sending.ts'

/** How a protocol writes a stream. */
export interface Framing<Event> {
  /** One event with the bytes that end it, in pieces if it may be large. */
  event(event: Event): string | Iterable<string>
  /** The event that reports an error within the stream: the HTTP status has been sent by then. */
  failure(error: OrielError): string
  /** The last bytes, after an error too. */
  end: string
}

export const sse: Transport = { contentType: 'text/event-stream', idle: ': keep-alive\n\n' }

/** One JSON value a line. */
export const ndjson: Transport = { contentType: 'application/x-ndjson', idle: null }

/** Frames without a name, `data: {…}`, and `[DONE]` at the end. */
export const dataFraming = <Event>({ dialect, requestId }: RequestContext): Framing<Event> => ({
  event: (event) => `data: ${JSON.stringify(event)}\n\n`,
  failure: (error) => `data: ${JSON.stringify(dialect.errors.body(error, requestId))}\n\n`,
  end: 'data: [DONE]\n\n',
})

/** A frame that is named by the type of its event. */
export const namedFrame = <Event extends { type: string }>(event: Event): string =>
  `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`

/** As `namedFrame` has it, for an event that may have many megabytes. */
export function* largeFrame<Event extends { type: string }>(event: Event): Iterable<string> {
  yield `event: ${event.type}\ndata: `
  yield* jsonPieces(event)
  yield '\n\n'
}

/** How long a stream is silent until it gets a sign of life, so that no proxy cuts it, in ms. */
const keepAlive = 15_000

/** Sends events as a stream, as fast as the client reads them. @returns the error that ended it, or undefined */
export async function sendEvents<Event>(
  response: ServerResponse,
  events: AsyncIterable<Event>,
  framing: Framing<Event>,
  { contentType, idle }: Transport,
): Promise<unknown> {
  response.writeHead(200, {
    'content-type': `${contentType}; charset=utf-8`,
    'cache-control': 'no-cache',
    // nginx buffers streams without it.
    'x-accel-buffering': 'no',
  })
  response.flushHeaders()
  const timer = setInterval(() => {
    // A client with unread data needs no keep-alive.
    if (idle !== null && !response.destroyed && !response.writableNeedDrain) response.write(idle)
  }, keepAlive)
  let failure: unknown
  try {
    for await (const event of events) {
      timer.refresh()
      const frame = framing.event(event)
      if (typeof frame === 'string') await write(response, frame)
      else await writePieces(response, frame)
    }
  } catch (error) {
    failure = error
    await write(response, framing.failure(toOrielError(error)))
  } finally {
    clearInterval(timer)
  }
  if (framing.end !== '') await write(response, framing.end)
  response.end()
  return failure
}
