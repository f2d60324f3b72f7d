import { isAscii } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Config } from '../config.ts'
import type { Deployments } from '../deployments/index.ts'
import { OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { version } from '../version.ts'
import type { AnswerAccount } from './answering/observe.ts'
import type { AnswerRooms } from './answering/prepare.ts'
import { bases } from './dialects.ts'
import { endpointsOf } from './endpoints.ts'
import { sendError } from './errors.ts'
import { describeRequest } from './headers.ts'
import { explainHttpError, refuseConnection } from './http-errors.ts'
import { createMetrics } from './metrics.ts'
import { openapiDocument } from './openapi/document.ts'

/** The document for people. It takes everything from this server. */
const page = readFileSync(new URL('./openapi/page.html', import.meta.url), 'utf8')
const pagePolicy = "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"

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
    describeRequest(request, reply)
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
  const metrics = createMetrics(rooms.deployments)
  server.addHook('onResponse', async ({ method, routeOptions }, reply) =>
    metrics.responded(method, routeOptions.url ?? 'unknown', reply.statusCode, reply.elapsedTime),
  )
  const tell = (account: AnswerAccount, requestId: string): void => {
    metrics.answered(account)
    const { usage, timings, ...others } = account
    log.info({ requestId, ...others, ...usage, ...timings }, 'a request was answered')
  }
  const endpoints = endpointsOf({ rooms, strict: config.strict, log, tell })
  for (const base of Object.keys(bases))
    for (const { method, path, pattern, handler } of endpoints) route(method, base + (pattern ?? path), handler)
  const document = openapiDocument(endpoints, version)
  route('GET', '/openapi.json', async () => document)
  route('GET', '/docs', async (_request, reply) =>
    reply.header('content-security-policy', pagePolicy).type('text/html; charset=utf-8').send(page),
  )
  route('GET', '/health', async () => ({ status: 'ok', ...(await healthOf(rooms.deployments)) }))
  route('GET', '/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()))
  route('DELETE', '/admin/cache', async (_request, reply) => {
    await rooms.clearCache()
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

/** The engines that run and the memory that they were given, and which of them is starting again after a crash. */
async function healthOf({ loaded, memory }: Deployments) {
  const engines = await Promise.all(
    loaded().map(async ({ info, state }) => {
      const found = await state().catch(() => null)
      if (found === null) return { model: info.id, status: 'restarting' }
      return { model: info.id, status: 'ok', running: found.running, waiting: found.waiting }
    }),
  )
  return { engines, memory: { budget_bytes: memory.budget, taken_bytes: memory.taken } }
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
