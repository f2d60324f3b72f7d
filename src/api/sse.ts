import type { ServerResponse } from 'node:http'
import { errorBody, toOrielError } from './errors.ts'

/** Silence after which a comment is sent, so that nothing in between takes the connection for dead. ms */
const keepAlive = 15_000

/**
 * Sends events as a stream, as fast as the reader takes them. A failure on the way becomes one last event with an error
 * body, since the status is long sent.
 * @returns what failed, if anything did
 */
export async function sendEvents(response: ServerResponse, events: AsyncIterable<object>): Promise<unknown> {
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
      await write(response, `data: ${JSON.stringify(event)}\n\n`)
    }
  } catch (error) {
    failure = error
    await write(response, `data: ${JSON.stringify(errorBody(toOrielError(error)))}\n\n`)
  } finally {
    clearInterval(timer)
  }
  await write(response, 'data: [DONE]\n\n')
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
