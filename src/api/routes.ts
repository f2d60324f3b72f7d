import type { FastifyContextConfig, FastifyInstance, FastifyReply, FastifyRequest, RouteHandlerMethod } from 'fastify'
import type { Scope } from '../accounts/index.ts'
import { OrielError } from '../errors.ts'
import { escaped } from '../regexp.ts'
import type { Dialect, Endpoint, Method } from './dialects/dialect.ts'
import { bases, defaultDialect, markedDialect } from './dialects/index.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Set for the endpoints of a dialect. */
    dialect?: Dialect | undefined
    /** See `Endpoint.takes`. */
    takes?: Endpoint['takes'] | undefined
  }
}

interface Route {
  methods: string[]
  dialect: Dialect | undefined
  /** Matches its paths. */
  matches: RegExp
}

/** The routes of a server. They know the dialect of every request, and why a request has no route. */
export class Routes {
  readonly #server: FastifyInstance
  readonly #routes = new Map<string, Route>()

  constructor(server: FastifyInstance) {
    this.#server = server
  }

  /**
   * @param scope what a key must be for, on a server that needs keys; null: anyone may ask
   * @param of the endpoint of a dialect; empty for Oriel's own, such as `/health`
   */
  add(
    method: Method,
    url: string,
    scope: Scope | null,
    handler: RouteHandlerMethod,
    { dialect, takes }: Pick<FastifyContextConfig, 'dialect' | 'takes'> = {},
  ): void {
    const route = this.#routes.get(url) ?? { methods: [], dialect, matches: pathsOf(url) }
    route.methods.push(method)
    this.#routes.set(url, route)
    this.#server.route({ method, url, config: { scope, dialect, takes }, handler })
  }

  /** The dialect of a request's endpoint. A URL that is none belongs to the nearest endpoint or base above it. */
  dialectOf({ url, headers, routeOptions }: FastifyRequest): Dialect {
    const found = markedDialect(headers) ?? routeOptions.config?.dialect
    if (found !== undefined) return found
    const parts = pathOf(url).split('/', mostParts)
    for (let length = parts.length; length > 0; length--) {
      const above = parts.slice(0, length).join('/')
      const dialect = this.#at(above)?.dialect ?? bases.get(above)
      if (dialect !== undefined) return dialect
    }
    return defaultDialect
  }

  /** Answers a request that has no handler: preflights of browsers with what is allowed. @throws OrielError for any other */
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
    if (headers.origin !== undefined)
      reply.headers({
        'access-control-allow-methods': allow,
        // The wildcard "*" does not cover Authorization, so the headers that the browser asks for are repeated.
        'access-control-allow-headers': headers['access-control-request-headers'] ?? '*',
        'access-control-max-age': '600',
      })
    return reply.status(204).send()
  }

  #at(path: string): Route | undefined {
    return [...this.#routes.values()].find(({ matches }) => matches.test(path))
  }
}

/** No endpoint has a longer path. */
const mostParts = 12

const pathOf = (url: string): string => url.split('?')[0] ?? ''

/** @param pattern in the syntax of the router: `/a/:name/*`, `/a/:name(^[^:]+)::verb` */
const pathsOf = (pattern: string): RegExp =>
  new RegExp(
    `^${pattern.replace(/::|:\w+(?:\((\^[^)]*)\))?|\*|[^:*]+/g, (part, one?: string) => {
      if (part === '::') return ':'
      if (part === '*') return '.*'
      return part.startsWith(':') ? `(?:${one?.replace(/^\^|\$$/g, '') ?? '[^/]+'})` : escaped(part)
    })}$`,
  )
