import { hostname } from 'node:os'
import type { FastifyReply, FastifyRequest } from 'fastify'
import ipaddr from 'ipaddr.js'
import type { Config } from '../config.ts'
import { OrielError } from '../errors.ts'

/** Methods that read only. */
const reading = ['GET', 'HEAD', 'OPTIONS']

/**
 * Keeps out what the pages of strangers send through the browser of a person who can reach this server: requests from an
 * origin that is not allowed, and requests to a name that a stranger owns and has pointed here (DNS rebinding).
 */
export class Visitors {
  readonly #hosts: readonly string[]
  readonly #origins: readonly string[]

  constructor({ host, hostnames, origins }: Config['server']) {
    const own = hostname().toLowerCase()
    this.#hosts = [host, own, `${own}.local`, ...hostnames].map((name) => name.toLowerCase())
    this.#origins = origins.map((origin) => origin.toLowerCase())
  }

  /**
   * Checks a request, and tells a browser that the page may read the answer.
   * @throws OrielError `forbidden`
   */
  admit({ method, url, headers, routeOptions }: FastifyRequest, reply: FastifyReply): void {
    const { host, origin } = headers
    if (host !== undefined && !this.#isOurs(host)) throw foreignHost(host)
    if (this.#origins.length > 0) reply.header('vary', 'origin')
    // The router decodes a URL, so its route says what `/%61dmin` is. A preflight has none.
    const isAdmin = (routeOptions.url ?? url).startsWith('/admin/')
    if (origin === undefined) {
      // Browsers of today send an origin with what changes something, or at least this header with every request. What reads
      // only may come from a link, but not from one to what pages ask: its streams and its work are not for strangers.
      const isElsewhere = /^(cross|same)-site$/.test(String(headers['sec-fetch-site']))
      if (isElsewhere && (isAdmin || !reading.includes(method))) throw foreignOrigin('another site', isAdmin)
      return
    }
    if (isSameOrigin(origin, host)) return
    if (isAdmin || !this.#isAllowed(origin)) throw foreignOrigin(JSON.stringify(origin.slice(0, 200)), isAdmin)
    reply.headers({ 'access-control-allow-origin': origin, 'access-control-expose-headers': '*' })
  }

  /**
   * An address cannot be pointed elsewhere, and strangers own no name without a dot or below `localhost` and `internal`:
   * those are the names of this machine, of containers and of private networks.
   */
  #isOurs(host: string): boolean {
    const name = nameOf(host)
    if (name === undefined) return false
    if (ipaddr.isValid(name) || !name.includes('.') || /\.(localhost|internal)$/.test(name)) return true
    return this.#hosts.some((known) => known === '*' || name === known || name.endsWith(`.${known}`))
  }

  #isAllowed(origin: string): boolean {
    return this.#origins.some((allowed) => allowed === '*' || allowed === origin.toLowerCase())
  }
}

/** The name or address in a `Host` header, without the port. */
function nameOf(host: string): string | undefined {
  const url = `http://${host}`
  return URL.canParse(url) ? new URL(url).hostname.replace(/^\[|\]$|\.$/g, '') : undefined
}

function isSameOrigin(origin: string, host = ''): boolean {
  if (!URL.canParse(origin)) return false
  const from = new URL(origin)
  const here = `${from.protocol}//${host}`
  return URL.canParse(here) && new URL(here).host === from.host && from.host !== ''
}

const foreignHost = (host: string): OrielError =>
  new OrielError(
    'forbidden',
    `This server does not answer to the host name ${JSON.stringify(host.slice(0, 200))}. To allow a name, list it in the setting ORIEL_HOSTNAMES.`,
    { code: 'host_not_allowed' },
  )

const foreignOrigin = (origin: string, isAdmin: boolean): OrielError =>
  new OrielError(
    'forbidden',
    isAdmin
      ? `Pages of ${origin} may not use paths below /admin/: only pages of this server may, whatever its settings.`
      : `Pages of ${origin} may not use this server. To allow an origin, list it in the setting ORIEL_ORIGINS.`,
    { code: 'origin_not_allowed' },
  )
