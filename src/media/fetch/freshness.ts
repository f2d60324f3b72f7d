import type { IncomingHttpHeaders } from 'node:http'

/** What HTTP says of keeping an answer (RFC 9111), for a cache that several people share. */
export interface Freshness {
  /** Until then it may be used without asking, in ms since 1970; afterwards the host is asked whether it is still the same. */
  readonly freshUntil: number
  readonly etag: string | undefined
  readonly lastModified: string | undefined
}

type Lines = Readonly<Record<string, string | string[] | undefined>>

/** A file that was fetched, and how long it may be used. */
export interface KeptFile extends Freshness {
  readonly bytes: Buffer
}

/**
 * @param lines headers; one that came in several lines is one list (RFC 9110, section 5.3)
 * @returns undefined when the answer may not be kept, or when keeping it would help nobody
 */
export function freshnessOf(lines: Lines, now = Date.now()): Freshness | undefined {
  const headers: IncomingHttpHeaders = Object.fromEntries(
    Object.entries(lines).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value]),
  )
  const control = directives(headers['cache-control'] ?? '')
  // Every fetch sends the same headers, so of all that an answer may vary by only "anything" matters.
  if (control.has('no-store') || control.has('private') || headers.vary?.includes('*')) return undefined
  const { etag, 'last-modified': lastModified } = headers
  const seconds = control.has('no-cache') ? 0 : lifetime(headers, control) - Number(headers.age ?? 0)
  if (!(seconds > 0) && etag === undefined && lastModified === undefined) return undefined
  return { freshUntil: seconds > 0 ? now + seconds * 1000 : 0, etag, lastModified }
}

/** Headers that ask for the bytes only if they are others than those that are kept. */
export function ifChanged({ etag, lastModified }: Freshness): Record<string, string> {
  if (etag !== undefined) return { 'if-none-match': etag }
  return lastModified === undefined ? {} : { 'if-modified-since': lastModified }
}

function lifetime({ date, expires }: IncomingHttpHeaders, control: Map<string, string>): number {
  const age = control.get('s-maxage') ?? control.get('max-age')
  if (age !== undefined) return /^\d{1,10}$/.test(age) ? Number(age) : 0
  return expires === undefined ? 0 : (Date.parse(expires) - (date === undefined ? Date.now() : Date.parse(date))) / 1000
}

/** `max-age=60, no-cache` */
const directives = (text: string): Map<string, string> =>
  new Map(
    text.split(',').map((part): [string, string] => {
      const [name = '', value = ''] = part.trim().split('=')
      return [name.toLowerCase(), value.replaceAll('"', '')]
    }),
  )
