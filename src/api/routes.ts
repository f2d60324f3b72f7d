import type { FastifyInstance, FastifyReply, FastifyRequest, RouteHandlerMethod } from 'fastify'
import { OrielError } from '../errors.ts'
import type { Dialect } from './dialects/dialect.ts'
import { dialectBelow } from './dialects/index.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Set for the endpoints of a dialect. */
    dialect?: Dialect
  }
}

interface Route {
  methods: string[]
  dialect: Dialect | undefined
}

/** The routes of a server. They know the dialect of every request, and why a request has no route. */
export class Routes {
  readonly #server: FastifyInstance
  readonly #routes = new Map<string, Route>()

  constructor(server: FastifyInstance) {
    this.#server = server
  }

  /** @param dialect of the route; undefined for Oriel's own, such as `/health` */
  add(method: 'GET' | 'POST' | 'DELETE', url: string, handler: RouteHandlerMethod, dialect?: Dialect): void {
    const route = this.#routes.get(url) ?? { methods: [], dialect }
    route.methods.push(method)
    this.#routes.set(url, route)
    this.#server.route({ method, url, config: dialect === undefined ? {} : { dialect }, handler })
  }

  dialectOf({ url, routeOptions }: FastifyRequest): Dialect {
    const path = pathOf(url)
    return routeOptions.config?.dialect ?? this.#at(path)?.dialect ?? dialectBelow(path)
  }

  /** Answers a request that has no handler: CORS preflights with what is allowed. @throws OrielError for any other */
  missing({ method, url, headers }: FastifyRequest, reply: FastifyReply): FastifyReply {
    const path = pathOf(url)
    const route = this.#at(path)
    if (route === undefined)
      throw new OrielError('not_found', `Unknown URL: ${method} ${path}.`, { code: 'unknown_url' })
    const allow = [...route.methods, 'OPTIONS'].join(', ')
    reply.header('allow', allow)
    if (method !== 'OPTIONS')
      throw new OrielError('method_not_allowed', `${path} accepts ${route.methods.join(' and ')}, not ${method}.`, {
        code: 'method_not_allowed',
      })
    // The wildcard "*" does not cover Authorization, so the headers that the browser asks for are repeated.
    reply.header('access-control-allow-headers', headers['access-control-request-headers'] ?? '*')
    return reply
      .headers({ 'access-control-allow-methods': allow, 'access-control-max-age': '86400' })
      .status(204)
      .send()
  }

  #at(path: string): Route | undefined {
    const found = [...this.#routes].find(([pattern]) =>
      pattern.endsWith('/*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern,
    )
    return found?.[1]
  }
}

const pathOf = (url: string): string => url.split('?')[0] ?? ''
