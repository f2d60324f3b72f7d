import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Timings } from '../deployments/index.ts'
import type { Logger } from '../log.ts'
import { type ChatRooms, type RunningChat, startChat } from './chat.ts'
import { chatRequest, knownParameters } from './chat-schema.ts'
import { chunks, completion } from './chat-shapes.ts'
import { logError, toOrielError } from './errors.ts'
import { sendEvents } from './sse.ts'
import { parseBody } from './validation.ts'

/** `POST /v1/chat/completions` */
export function chatRoute(rooms: ChatRooms, log: Logger) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const arrived = performance.now()
    const body = parseBody(chatRequest, request.body)
    const isolation = request.headers['x-prompt-cache-isolation-key']
    const chat = await startChat(rooms, body, {
      isolationKey: typeof isolation === 'string' ? isolation : '',
      // Fireworks lowers max_tokens to what fits; OpenAI refuses.
      overflow: request.url.startsWith('/inference/') ? 'truncate' : 'error',
      signal: whenClosed(reply),
    })
    describePrompt(reply, chat)
    const ignored = Object.keys(body).filter((key) => !knownParameters.has(key))
    if (ignored.length > 0) reply.header('x-oriel-ignored-parameters', ignored.map(encodeURIComponent).join(', '))
    const logprobs = typeof body.logprobs === 'number' || body.logprobs === true

    if (!body.stream) {
      const answer = await completion(chat, logprobs)
      if (answer.timings !== undefined) describeTimings(reply, answer.timings, chat.mediaMs, arrived)
      return answer.body
    }
    reply.hijack()
    for (const [name, value] of Object.entries(reply.getHeaders()))
      if (value !== undefined) reply.raw.setHeader(name, value)
    const failure = await sendEvents(reply.raw, chunks(chat, logprobs, body.stream_options?.include_usage ?? false))
    if (failure !== undefined) logError(toOrielError(failure), request.id, log)
    return reply
  }
}

/** Aborts when the client goes away before the answer is complete. */
function whenClosed(reply: FastifyReply): AbortSignal {
  const gone = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort()
  })
  return gone.signal
}

function describePrompt(reply: FastifyReply, { prompt }: RunningChat): void {
  reply.header('fireworks-prompt-tokens', String(prompt.promptTokens))
  reply.header('fireworks-cached-prompt-tokens', String(prompt.cachedTokens))
}

/** Fireworks counts in seconds, Server-Timing in ms. */
function describeTimings(reply: FastifyReply, timings: Timings, media: number, arrived: number): void {
  const total = performance.now() - arrived
  reply.header('fireworks-server-time-to-first-token', ((media + timings.firstToken) / 1000).toFixed(4))
  reply.header('fireworks-server-processing-time', (total / 1000).toFixed(4))
  const { queue, encode, prefill, generation } = timings
  const phases = Object.entries({ media, queue, encode, prefill, generation, total })
  reply.header('server-timing', phases.map(([name, ms]) => `${name};dur=${ms.toFixed(1)}`).join(', '))
}
