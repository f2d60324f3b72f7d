import { createParser, type EventSourceMessage } from 'eventsource-parser'
import { unreadable } from './failures.ts'

/** Characters of one event. The largest that are known are whole calls, and a token with its alternatives. */
const mostCharacters = 4e6

/** The events of a stream, each as soon as it is there. @throws AttemptFailed for one that is too large */
export async function* serverEvents(body: AsyncIterable<Uint8Array>): AsyncIterable<EventSourceMessage> {
  const decoder = new TextDecoder()
  let arrived: EventSourceMessage[] = []
  const parser = createParser({
    maxBufferSize: mostCharacters,
    onEvent: (event) => void arrived.push(event),
    onError({ type }) {
      if (type === 'max-buffer-size-exceeded') throw unreadable('an event that is too large')
    },
  })
  for await (const bytes of body) {
    parser.feed(decoder.decode(bytes, { stream: true }))
    const events = arrived
    arrived = []
    yield* events
  }
  // Not every server ends its last event with an empty line.
  parser.feed(`${decoder.decode()}\n\n`)
  yield* arrived
}
