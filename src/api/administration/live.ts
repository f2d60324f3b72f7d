import type { FastifyReply, FastifyRequest } from 'fastify'
import type { RouteOptions } from '../dialects/dialect.ts'
import { type Framing, sendEvents, sse } from '../sse.ts'

/** The handler of a stream that goes on until its client leaves or the server closes. */
export const live =
  <Event>(events: (signal: AbortSignal, options: RouteOptions) => AsyncIterable<Event>) =>
  (options: RouteOptions) =>
  async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const left = new AbortController()
    reply.raw.once('close', () => left.abort())
    if (reply.raw.destroyed) left.abort()
    reply.hijack()
    for (const [name, value] of Object.entries(reply.getHeaders()))
      if (value !== undefined) reply.raw.setHeader(name, value)
    const { dialect, closing } = options
    const framing: Framing<Event> = {
      event: (event) => `data: ${JSON.stringify(event)}\n\n`,
      failure: (error) => `data: ${JSON.stringify(dialect.errors.body(error, request.id))}\n\n`,
      end: '',
    }
    await sendEvents(reply.raw, events(AbortSignal.any([left.signal, closing]), options), framing, sse)
    return reply
  }
