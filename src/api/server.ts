import { isAscii } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Config } from '../config.ts'
import type { Deployments } from '../deployments/index.ts'
import { OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { version } from '../version.ts'
import type { AnswerAccount, AnswerServices } from './answering/answer.ts'
import { dialects } from './dialects/index.ts'
import { sendError } from './errors.ts'
import { describeRequest } from './headers.ts'
import { explainHttpError, refuseConnection } from './http-errors.ts'
import { createMetrics } from './metrics.ts'
import { openapiDocument } from './openapi/document.ts'
import { Routes } from './routes.ts'

/** The documentation page. It loads nothing from other hosts. */
const page = readFileSync(new URL('../../web/docs.html', import.meta.url), 'utf8')
const pagePolicy = "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"

/** Time limit for receiving a request, in ms. */
const requestTimeout = 300_000

const requestId = /^[\w.:-]{1,128}$/

/** The HTTP server with all its routes. It does not listen yet. */
export function createServer(services: AnswerServices, config: Config['server'], log: Logger): FastifyInstance {
  const fail = (error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply =>
    sendError(explainHttpError(error, config.maxBodyBytes), routes.dialectOf(request), request, reply, log)
  const server = Fastify({
    bodyLimit: config.maxBodyBytes,
    // Idle connections must not delay closing; connections with a running answer may finish it.
    forceCloseConnections: 'idle',
    genReqId: ({ headers }) => {
      const given = headers['x-request-id']
      return typeof given === 'string' && requestId.test(given) ? given : randomUUID()
    },
    requestTimeout,
    frameworkErrors: (error, request, reply) => void fail(error, request, reply),
    clientErrorHandler: refuseConnection,
  })
  const routes = new Routes(server)
  server.removeAllContentTypeParsers()
  server.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    // Clients that set the type of every request send it without a body too: what requires one says so itself.
    if (body.length === 0) return done(null, undefined)
    try {
      // Megabytes of base64 are ASCII, which decodes much faster as latin1 and blocks the event loop for less time.
      done(null, JSON.parse(isAscii(body) ? body.toString('latin1') : body.toString()))
    } catch {
      done(new OrielError('invalid', 'The request body is not valid JSON.', { code: 'invalid_json' }))
    }
  })
  server.addHook('onRequest', async (request, reply) => {
    describeRequest(reply, request.id, routes.dialectOf(request))
    reply.header('access-control-allow-origin', '*')
    reply.header('access-control-expose-headers', '*')
    // Before its body is read: what is wrong with a request that goes nowhere is its URL.
    if (request.is404) return routes.missing(request, reply)
  })
  server.setErrorHandler(fail)
  endWithLastAnswer(server)

  const metrics = createMetrics(services.deployments)
  server.addHook('onResponse', async ({ method, routeOptions }, reply) =>
    metrics.responded(method, routeOptions.url ?? 'unknown', reply.statusCode, reply.elapsedTime),
  )
  const record = (account: AnswerAccount, requestId: string): void => {
    metrics.answered(account)
    const { usage, timings, ...others } = account
    log.info({ requestId, ...others, ...usage, ...timings }, 'a request was answered')
  }
  for (const dialect of dialects)
    for (const { method, path, pattern, handler } of dialect.endpoints) {
      const handle = handler({ dialect, services, strict: config.strict, log, record })
      for (const base of dialect.bases) routes.add(method, base + (pattern ?? path), handle, dialect)
    }
  // Making the document takes longer than the rest of the start, so the first request does it.
  let document: object | undefined
  routes.add('GET', '/openapi.json', async () => {
    document ??= openapiDocument(dialects, version)
    return document
  })
  routes.add('GET', '/docs', async (_request, reply) =>
    reply.header('content-security-policy', pagePolicy).type('text/html; charset=utf-8').send(page),
  )
  // Ollama's command asks it whether a server is there.
  routes.add('HEAD', '/', async (_request, reply) => reply.send())
  routes.add('GET', '/health', async () => ({ status: 'ok', ...(await healthOf(services.deployments)) }))
  routes.add('GET', '/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()))
  routes.add('DELETE', '/admin/cache', async (_request, reply) => {
    await services.clearCache()
    return reply.status(204).send()
  })
  return server
}

/** The state of each loaded engine, and the memory that models take. An engine without a state is restarting. */
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

/** Closes the connections of a closing server after its last answer: Node waits for connections without a request. */
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
