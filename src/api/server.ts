import { isAscii } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Config } from '../config.ts'
import { OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { answerRoute, countRoute } from './answer-route.ts'
import type { AnswerRooms } from './answering/prepare.ts'
import { countEndpoint, messagesEndpoint } from './anthropic/messages.ts'
import { bases } from './dialects.ts'
import { sendError } from './errors.ts'
import { explainHttpError, refuseConnection } from './http-errors.ts'
import { chatEndpoint } from './openai/chat.ts'
import { completionsEndpoint } from './openai/completions.ts'
import { modelList, modelObject } from './openai/models.ts'
import { tokenizeEndpoint } from './openai/tokenize.ts'
import { responsesEndpoint } from './responses/responses.ts'

/** A request must have arrived whole within this. ms */
const requestTimeout = 300_000

const requestId = /^[\w.:-]{1,128}$/

/** The HTTP server: routes, errors and headers that all of them share. It does not listen yet. */
export function createServer(rooms: AnswerRooms, config: Config['server'], log: Logger): FastifyInstance {
  const fail = (error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply =>
    sendError(explainHttpError(error, config.maxBodyBytes), request, reply, log)
  const server = Fastify({
    bodyLimit: config.maxBodyBytes,
    // Idle connections would keep the server from closing; those with an answer under way may finish it.
    forceCloseConnections: 'idle',
    genReqId: ({ headers }) => {
      const given = headers['x-request-id']
      return typeof given === 'string' && requestId.test(given) ? given : randomUUID()
    },
    requestTimeout,
    frameworkErrors: (error, request, reply) => void fail(error, request, reply),
    clientErrorHandler: refuseConnection,
  })
  server.removeAllContentTypeParsers()
  server.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    try {
      // Megabytes of base64 are ASCII, and as such read in a fraction of the time that UTF-8 holds up everybody else.
      done(null, JSON.parse(isAscii(body) ? body.toString('latin1') : body.toString()))
    } catch {
      done(new OrielError('invalid', 'The body of the request is not JSON.', { code: 'invalid_json' }))
    }
  })
  server.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
    reply.header('access-control-allow-origin', '*')
    reply.header('access-control-expose-headers', '*')
  })
  server.setErrorHandler(fail)
  endWithLastAnswer(server)

  const methods = new Map<string, string[]>()
  const route = (
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    handler: Parameters<typeof server.route>[0]['handler'],
  ) => {
    methods.set(path, [...(methods.get(path) ?? []), method])
    server.route({ method, url: path, handler })
  }
  const options = { rooms, strict: config.strict, log }
  const chat = answerRoute(chatEndpoint, options)
  const completions = answerRoute(completionsEndpoint, options)
  const responses = answerRoute(responsesEndpoint, options)
  const messages = answerRoute(messagesEndpoint, options)
  const countTokens = countRoute(countEndpoint, options)
  const tokenize = countRoute(tokenizeEndpoint, options)
  for (const base of Object.keys(bases)) {
    route('POST', `${base}/chat/completions`, chat)
    route('POST', `${base}/completions`, completions)
    route('POST', `${base}/responses`, responses)
    route('POST', `${base}/messages`, messages)
    route('POST', `${base}/messages/count_tokens`, countTokens)
    route('POST', `${base}/tokenize`, tokenize)
    route('GET', `${base}/models`, async ({ query }) => modelList(rooms.deployments, query as Record<string, string>))
    // A model's id may hold slashes: accounts/oriel/models/pocket.
    route('GET', `${base}/models/*`, async ({ params }) =>
      modelObject(rooms.deployments.find((params as { '*': string })['*'])),
    )
  }
  route('GET', '/health', async () => ({ status: 'ok' }))
  route('DELETE', '/admin/cache', async (_request, reply) => {
    await rooms.media.clearCache()
    return reply.status(204).send()
  })

  server.setNotFoundHandler((request, reply) => {
    const { method } = request
    const path = request.url.split('?')[0] ?? ''
    const known = [...methods].find(([pattern]) =>
      pattern.endsWith('/*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern,
    )?.[1]
    if (known === undefined) {
      const missing = new OrielError('not_found', `There is nothing at ${method} ${path}.`, { code: 'unknown_url' })
      return sendError(missing, request, reply, log)
    }
    const allow = [...known, 'OPTIONS'].join(', ')
    reply.header('allow', allow)
    if (method === 'OPTIONS') {
      // A star would leave Authorization out, so whatever the browser asks for is named.
      const headers = request.headers['access-control-request-headers'] ?? '*'
      reply.header('access-control-allow-methods', allow).header('access-control-allow-headers', headers)
      return reply.header('access-control-max-age', '86400').status(204).send()
    }
    const wrong = new OrielError('method_not_allowed', `${path} takes ${known.join(' and ')}, not ${method}.`, {
      code: 'method_not_allowed',
    })
    return sendError(wrong, request, reply, log)
  })
  return server
}

/**
 * Node keeps a closing server open for connections that have not asked anything yet, of which browsers and clients keep
 * a few. They go with the last answer.
 */
function endWithLastAnswer(server: FastifyInstance): void {
  let answering = 0
  let closing = false
  const end = (): void => {
    if (closing && answering === 0) server.server.closeAllConnections()
  }
  server.addHook('onRequest', async (_request, reply) => {
    answering++
    reply.raw.once('close', () => {
      answering--
      end()
    })
  })
  server.addHook('preClose', async () => {
    closing = true
    end()
  })
}
