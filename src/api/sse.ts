import type { ServerResponse } from 'node:http'
import type { OrielError } from '../errors.ts'
import { toOrielError } from './errors.ts'

/** How a dialect writes a stream. */
export interface Framing {
  /** One event, blank line and all. */
  event(event: object): string
  /** What the stream ends with when something failed on the way, since the status is long sent. */
  failure(error: OrielError): string
  /** What comes last, whatever happened. */
  end: string
}

/** `data: {…}`, the events of OpenAI's chats and completions. */
export const dataFraming = (errorOf: (error: OrielError) => object): Framing => ({
  event: (event) => `data: ${JSON.stringify(event)}\n\n`,
  failure: (error) => `data: ${JSON.stringify(errorOf(error))}\n\n`,
  end: 'data: [DONE]\n\n',
})

/** Silence after which a comment is sent, so that nothing in between takes the connection for dead. ms */
const keepAlive = 15_000

/** Sends events as a stream, as fast as the reader takes them. @returns what failed, if anything did */
export async function sendEvents(
  response: ServerResponse,
  events: AsyncIterable<object>,
  framing: Framing,
): Promise<unknown> {
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    // nginx holds streams back unless it is told not to.
    'x-accel-buffering': 'no',
  })
  response.flushHeaders()
  const timer = setInterval(() => {
    // A reader that has not taken what there is needs no sign of life.
    if (!response.destroyed && !response.writableNeedDrain) response.write(': keep-alive\n\n')
  }, keepAlive)
  let failure: unknown
  try {
    for await (const event of events) {
      timer.refresh()
      await write(response, framing.event(event))
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

/** Waits for a slow reader, so that what it has not read yet stays with the engine and not in our memory. */
async function write(response: ServerResponse, text: string): Promise<void> {
  if (response.destroyed || response.write(text)) return
  await new Promise<void>((resolve) => {
    const go = (): void => {
      response.off('drain', go).off('close', go)
      resolve()
    }
    response.on('drain', go).on('close', go)
  })
}
