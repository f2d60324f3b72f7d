import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Timings } from '../deployments/index.ts'
import type { Logger } from '../log.ts'
import { type ChatRooms, type RunningChat, startChat } from './chat.ts'
import { type ChatRequest, chatRequest, knownParameters } from './chat-schema.ts'
import { chunks, completion } from './chat-shapes.ts'
import { logError, toOrielError } from './errors.ts'
import { sendEvents } from './sse.ts'
import { parseBody } from './validation.ts'

/**
 * A stream begins when the engine has taken the request in, so that whatever is wrong has a status of its own; but no
 * reader waits longer than this for its first byte. ms
 */
const patience = 10_000

/** `POST /v1/chat/completions` */
export function chatRoute(rooms: ChatRooms, log: Logger) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const arrived = performance.now()
    const body = parseBody(chatRequest, request.body)
    const isolation = request.headers['x-prompt-cache-isolation-key']
    const starting = startChat(rooms, body, {
      isolationKey: typeof isolation === 'string' ? isolation : '',
      // Fireworks lowers max_tokens to what fits; OpenAI refuses.
      overflow: request.url.startsWith('/inference/') ? 'truncate' : 'error',
      signal: whenClosed(reply),
    })
    const ignored = Object.keys(body).filter((key) => !knownParameters.has(key))
    if (ignored.length > 0) reply.header('x-oriel-ignored-parameters', ignored.map(encodeURIComponent).join(', '))
    const logprobs = typeof body.logprobs === 'number' || body.logprobs === true

    if (!body.stream) {
      const chat = await starting
      describePrompt(reply, chat)
      const answer = await completion(chat, logprobs)
      if (answer.timings !== undefined) describeTimings(reply, answer.timings, chat.mediaMs, arrived)
      return answer.body
    }
    const early = await within(patience, starting)
    if (early !== undefined) describePrompt(reply, early)
    reply.hijack()
    for (const [name, value] of Object.entries(reply.getHeaders()))
      if (value !== undefined) reply.raw.setHeader(name, value)
    const failure = await sendEvents(reply.raw, chunksOf(starting, body, logprobs))
    if (failure !== undefined) logError(toOrielError(failure), request.id, log)
    return reply
  }
}

async function* chunksOf(starting: Promise<RunningChat>, body: ChatRequest, logprobs: boolean) {
  yield* chunks(await starting, logprobs, body.stream_options?.include_usage ?? false)
}

/** @returns undefined when the promise takes longer. ms */
async function within<T>(time: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), time)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
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
