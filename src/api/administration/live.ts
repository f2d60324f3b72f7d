import type { FastifyReply, FastifyRequest } from 'fastify'
import { OrielError } from '../../errors.ts'
import { Costs } from '../../fairness.ts'
import { Semaphore } from '../../semaphore.ts'
import { clientOf } from '../client.ts'
import type { RouteOptions } from '../dialects/dialect.ts'
import { takeOver } from '../sending.ts'
import { type Framing, sendEvents, sse } from '../sse.ts'

/** Those who watch one stream: all together, and from one place or with one key. */
const mostWatchers = { all: 100, ofOne: 50 }

/**
 * The handler of a stream that goes on until its client leaves, may no longer see it, or the server closes. An event that
 * several see is written as JSON once.
 */
export const live =
  <Event extends object>(events: (signal: AbortSignal, options: RouteOptions) => AsyncIterable<Event>) =>
  (options: RouteOptions) => {
    const watchers = new Semaphore({ capacity: mostWatchers.all, mostOfOne: mostWatchers.ofOne }, new Costs())
    const frames = new WeakMap<Event, string>()
    const frameOf = (event: Event): string => {
      const frame = frames.get(event) ?? `data: ${JSON.stringify(event)}\n\n`
      frames.set(event, frame)
      return frame
    }
    return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
      if (request.method === 'HEAD') return reply.type(`${sse.contentType}; charset=utf-8`).send()
      const leave = watchers.tryAcquire(clientOf(request), 1)
      if (leave === undefined) throw tooManyWatchers()
      const left = new AbortController()
      reply.raw.once('close', () => left.abort())
      if (reply.raw.destroyed) left.abort()
      const { dialect, closing, enter } = options
      const framing: Framing<Event> = {
        event: frameOf,
        failure: (error) => `data: ${JSON.stringify(dialect.errors.body(error, request.id))}\n\n`,
        end: '',
      }
      const seen = events(AbortSignal.any([left.signal, closing]), options)
      await sendEvents(
        takeOver(reply),
        whileAllowed(seen, () => enter(request)),
        framing,
        sse,
      ).finally(leave)
      return reply
    }
  }

/** A key may be revoked while somebody watches with it. */
async function* whileAllowed<Event>(events: AsyncIterable<Event>, check: () => Promise<void>): AsyncIterable<Event> {
  for await (const event of events) {
    await check()
    yield event
  }
}

const tooManyWatchers = (): OrielError =>
  new OrielError('overloaded', 'Too many watch this already. Close some of them.', {
    code: 'too_many_watchers',
    retryAfter: 10,
  })
