import type { IncomingHttpHeaders } from 'node:http'

/** How long an answer may be reused according to HTTP (RFC 9111), by a cache that is shared between users. */
export interface Freshness {
  /** Time in ms since 1970 until which the file is used without a request. Afterwards its host is asked for changes. */
  readonly freshUntil: number
  readonly etag: string | undefined
  readonly lastModified: string | undefined
}

export interface CachedFile extends Freshness {
  readonly bytes: Buffer
}

/**
 * @param received a header that came in several lines is one list (RFC 9110, section 5.3)
 * @returns undefined when the answer must not be cached, or could never be reused
 */
export function freshnessOf(
  received: Readonly<Record<string, string | string[] | undefined>>,
  now = Date.now(),
): Freshness | undefined {
  const headers: IncomingHttpHeaders = Object.fromEntries(
    Object.entries(received).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value]),
  )
  const control = directives(headers['cache-control'] ?? '')
  // All requests send the same headers, so that only "vary: *" can make two answers differ.
  if (control.has('no-store') || control.has('private') || headers.vary?.includes('*')) return undefined
  const { etag, 'last-modified': lastModified } = headers
  const seconds = control.has('no-cache') ? 0 : lifetime(headers, control) - Number(headers.age ?? 0)
  if (!(seconds > 0) && etag === undefined && lastModified === undefined) return undefined
  return { freshUntil: seconds > 0 ? now + seconds * 1000 : 0, etag, lastModified }
}

/** The headers of a conditional request: the host sends the file only if it has changed. */
export function validatorsOf({ etag, lastModified }: Freshness): Record<string, string> {
  if (etag !== undefined) return { 'if-none-match': etag }
  return lastModified === undefined ? {} : { 'if-modified-since': lastModified }
}

/** In seconds. */
function lifetime({ date, expires }: IncomingHttpHeaders, control: Map<string, string>): number {
  const maxAge = control.get('s-maxage') ?? control.get('max-age')
  if (maxAge !== undefined) return /^\d{1,10}$/.test(maxAge) ? Number(maxAge) : 0
  return expires === undefined ? 0 : (Date.parse(expires) - (date === undefined ? Date.now() : Date.parse(date))) / 1000
}

/** `max-age=60, no-cache` */
const directives = (text: string): Map<string, string> =>
  new Map(
    text.split(',').map((directive): [string, string] => {
      const [name = '', value = ''] = directive.trim().split('=')
      return [name.toLowerCase(), value.replaceAll('"', '')]
    }),
  )
