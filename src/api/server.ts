import { randomUUID } from 'node:crypto'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Config } from '../config.ts'
import { deferred } from '../deferred.ts'
import { shuttingDown } from '../errors.ts'
import type { Logger } from '../log.ts'
import { version } from '../version.ts'
import { within } from '../within.ts'
import { Access } from './access.ts'
import type { AnswerServices } from './answering/answer.ts'
import { Bodies } from './body/bodies.ts'
import { encoded, isEncoded, notForm, notJson } from './body/content-types.ts'
import { dialects } from './dialects/index.ts'
import { EngineStates } from './engine-states.ts'
import { sendError, toOrielError } from './errors.ts'
import { describeRequest } from './headers.ts'
import { healthOf, whyNotReady } from './health.ts'
import { explainHttpError, refuseConnection } from './http-errors.ts'
import { Monitor } from './monitoring/monitor.ts'
import { openapiDocument } from './openapi/document.ts'
import { addPages } from './pages.ts'
import { Routes } from './routes.ts'
import { Visitors } from './visitors.ts'

/** Time limits for receiving a request, and its headers, in ms. They are checked at an interval. */
const requestTimeout = 300_000
const headersTimeouts = { headersTimeout: 15_000, connectionsCheckingInterval: 5000 }

/** How long the last responses may take to close when the connections are, in ms. */
const longestEnd = 2500

/** Bodies are checked by zod. Fastify's own compilers, which read ajv, take a tenth of a server's start. */
const noSchemas = () => {
  throw new Error('no route has a schema of fastify')
}

const requestId = /^[\w.:-]{1,128}$/

/**
 * The HTTP server with all its routes. It does not listen yet.
 * @param draining aborts when it is about to close: it goes on, but sends its clients elsewhere
 */
export function createServer(
  services: AnswerServices,
  config: Config['server'],
  draining: AbortSignal,
  log: Logger,
): FastifyInstance {
  const fail = async (error: unknown, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    // Fastify would close the connection of a body that is not read to its end, and the answer could be lost.
    reply.removeHeader('connection')
    const shown = toOrielError(explainHttpError(error))
    // Unknown URLs, and what its own pages ask, say nothing about the answers of a server.
    if (request.routeOptions.config?.scope === 'inference') activity.failed(request, shown)
    await bodies.refuse(request)
    return sendError(shown, routes.dialectOf(request), request, reply, log)
  }
  const server = Fastify({
    http: headersTimeouts,
    // Idle connections must not delay closing; connections with a running answer may finish it.
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    genReqId: ({ headers }) => {
      const given = headers['x-request-id']
      return typeof given === 'string' && requestId.test(given) ? given : randomUUID()
    },
    requestTimeout,
    frameworkErrors: (error, request, reply) => void fail(error, request, reply),
    clientErrorHandler: refuseConnection,
    schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
  })
  const routes = new Routes(server)
  const { deployments } = services
  const engines = new EngineStates(deployments)
  const { metrics, activity, watch, embedded } = new Monitor(server, deployments, engines, log)
  const visitors = new Visitors(config)
  const access = new Access(server, services.accounts)
  const bodies = new Bodies(config)
  server.removeAllContentTypeParsers()
  const read = (type: 'json' | 'form' | 'other') => async (request: FastifyRequest) => {
    const { takes = 'json' } = request.routeOptions.config
    // Its handler reads it.
    if (takes === 'bytes' || takes === 'arriving-form') return undefined
    const isRight = type === takes || (takes === 'json' && type === 'other' && routes.dialectOf(request).readsAnyType)
    if (!isRight) throw takes === 'form' ? notForm() : notJson()
    if (isEncoded(request.headers['content-encoding'])) throw encoded()
    return bodies.read(request, takes)
  }
  server.addContentTypeParser('application/json', read('json'))
  server.addContentTypeParser('multipart/form-data', read('form'))
  server.addContentTypeParser('*', read('other'))
  server.addHook('onRequest', (_request, reply, go) => {
    // A client may send requests before it has the answers to earlier ones. Each begins when its answer can be sent: Node does
    // not close a response that waits when its connection ends, and what the request holds would never be free again.
    if (reply.raw.socket === null) reply.raw.once('socket', () => go())
    else go()
  })
  server.addHook('onRequest', async (request, reply) => {
    reply.raw.once('close', () => void bodies.end(request))
    describeRequest(reply, request.id, routes.dialectOf(request))
    // The next request of this client then opens a connection, which may be to another server.
    if (draining.aborted) reply.raw.shouldKeepAlive = false
    // Nor does one come by this connection, if the answer has outlasted the time in which others could notice.
    else reply.raw.once('finish', () => closing.aborted && request.raw.socket.end())
    if (closing.aborted) throw shuttingDown()
    visitors.admit(request, reply)
    // Before its body is read: what is wrong with a request that goes nowhere is its URL.
    if (request.is404) return routes.missing(request, reply)
    await access.enter(request)
  })
  server.setErrorHandler(fail)
  /** Aborts when it begins to close. */
  const { signal: closing } = endWithLastAnswer(server)
  if (config.origins.includes('*'))
    log.warn('ORIEL_ORIGINS is *: pages of any origin may use this server from a browser')

  const enter = (request: FastifyRequest) => access.enter(request)
  const options = { services, strict: config.strict, log, activity, engines, closing, enter, watch, embedded }
  for (const dialect of dialects)
    for (const { method, path, pattern, scope = 'inference', takes, handler } of dialect.endpoints) {
      const handle = handler({ ...options, dialect })
      for (const base of dialect.bases) routes.add(method, base + (pattern ?? path), scope, handle, { dialect, takes })
    }
  // Making the document takes longer than the rest of the start, so the first request does it.
  let document: Promise<string> | undefined
  routes.add('GET', '/openapi.json', null, async (_request, reply) => {
    document ??= openapiDocument(dialects, version).then((whole) => JSON.stringify(whole))
    return reply.type('application/json; charset=utf-8').send(await document)
  })
  addPages(routes)
  /** Who may read metrics may also know which models there are and how busy they are. */
  const mayKnow = (request: FastifyRequest): Promise<boolean> => access.has(request, 'metrics')
  routes.add('GET', '/health', null, async (request) => healthOf(deployments, engines, await mayKnow(request)))
  routes.add('GET', '/ready', null, async (request, reply) => {
    const reason = draining.aborted ? 'The server is about to end.' : await whyNotReady(deployments, engines)
    if (reason === undefined) return { status: 'ready' }
    // The reason names models.
    return reply.status(503).send({ status: 'unavailable', ...((await mayKnow(request)) && { reason }) })
  })
  routes.add('GET', '/metrics', 'metrics', async (_request, reply) =>
    reply.type(metrics.contentType).send(await metrics.text()),
  )
  return server
}

/** Closes the connections of a closing server after its last answer: Node waits for connections without a request. */
function endWithLastAnswer(server: FastifyInstance): { readonly signal: AbortSignal } {
  let answering = 0
  const closing = new AbortController()
  const ended = deferred<void>()
  const end = (): void => {
    if (!closing.signal.aborted || answering > 0) return
    server.server.closeAllConnections()
    ended.resolve()
  }
  server.addHook('onRequest', async (_request, reply) => {
    if (reply.raw.destroyed) return
    answering++
    reply.raw.once('close', () => {
      answering--
      end()
    })
  })
  server.addHook('preClose', async () => {
    closing.abort()
    end()
  })
  // Connections count as closed before the responses on them do, and a response that is closed says what it took.
  server.addHook('onClose', async () => void (await within(longestEnd, ended.promise)))
  return closing
}
