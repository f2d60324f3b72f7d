import { isIP, type LookupFunction } from 'node:net'
import type { Dispatcher } from 'undici'
import { orAborted } from '../../abort.ts'
import type { AttachmentKind } from '../../attachments.ts'
import type { MediaConfig } from '../../config.ts'
import { OrielError } from '../../errors.ts'
import { version } from '../../version.ts'
import { sniff, sniffBytes } from '../format.ts'
import type { AddressCheck, HostCheck } from './addresses.ts'
import type { FileCache } from './cache.ts'
import { type CachedFile, freshnessOf, validatorsOf } from './freshness.ts'
import { ArrivedChunks, joinChunks } from './join-chunks.ts'

/** Resolves a host name to all of its addresses. */
export type Resolve = (host: string) => Promise<readonly { address: string; family: number }[]>

export interface DownloadContext {
  readonly config: MediaConfig
  readonly allowsAddress: AddressCheck
  readonly allowsHost: HostCheck
  readonly resolve: Resolve
  readonly cache: FileCache
}

/** What a URL should point to, and its limits. */
export interface WantedUrl {
  readonly kind: AttachmentKind
  readonly maxBytes: number
  readonly timeoutMs: number
}

export interface Fetched {
  readonly bytes: Buffer
  readonly from: 'network' | 'cache'
}

/**
 * Fetches a URL and follows its redirects. The host of each hop is resolved once, all its addresses are checked, and the
 * connection goes to one of the checked addresses.
 * @throws OrielError about the URL, or the error of the connection
 */
export async function download(
  start: URL,
  wanted: WantedUrl,
  context: DownloadContext,
  signal: AbortSignal,
): Promise<Fetched> {
  const { maxRedirects } = context.config
  let url = start
  for (let hop = 0; hop <= maxRedirects; hop++) {
    const answer = await fetchHop(url, wanted, context, signal)
    if (!('redirect' in answer)) return answer
    url = parseUrl(answer.redirect, wanted.kind, context, url)
  }
  throw new OrielError(
    'invalid',
    `The ${wanted.kind} could not be fetched: its URL redirects more than ${maxRedirects} times, the limit.`,
    { code: `${wanted.kind}_url_redirects` },
  )
}

/** Characters of a URL, which is parsed in one piece. */
const mostUrl = 16_000

/**
 * Parses a URL as the WHATWG standard says. The connection is made from the parsed URL, never from the text.
 * @throws OrielError `invalid` for anything but an http or https URL that this server may fetch
 */
export function parseUrl(text: string, kind: AttachmentKind, { allowsHost }: DownloadContext, base?: URL): URL {
  if (text.length > mostUrl) throw notAllowed(kind, `it has ${text.length} characters; at most ${mostUrl} are allowed`)
  if (!URL.canParse(text, base?.href)) throw notAllowed(kind, 'it is not a valid URL')
  const url = new URL(text, base)
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw notAllowed(kind, 'only http: and https: URLs are fetched')
  if (url.username !== '' || url.password !== '') throw notAllowed(kind, 'it contains credentials')
  if (!allowsHost(hostOf(url))) throw notAllowed(kind, 'this server is configured not to fetch from its host')
  url.hash = ''
  return url
}

const requestHeaders = {
  'user-agent': `Oriel/${version} (vision-language model server; fetches files named in its users' requests)`,
  accept: 'image/*,video/*,audio/*,application/pdf,*/*;q=0.1',
  // A compressed answer could expand without limit. If a host compresses it anyway, its first bytes are of no file that is read.
  'accept-encoding': 'identity',
}

/** Fetches a URL without following a redirect. @param url parsed and allowed */
async function fetchHop(
  url: URL,
  { kind, ...limits }: WantedUrl,
  context: DownloadContext,
  signal: AbortSignal,
): Promise<Fetched | { redirect: string }> {
  const { cache } = context
  const cached = await orAborted(cache.get(url.href), signal, () => signal.reason)
  const fromCache = ({ bytes }: CachedFile): Fetched => {
    // It may have been fetched as something else, which may be larger.
    if (bytes.length > limits.maxBytes) throw tooLarge(kind, `${bytes.length} bytes`, limits.maxBytes)
    return { bytes, from: 'cache' }
  }
  if (cached !== undefined && Date.now() < cached.freshUntil) return fromCache(cached)
  const { request } = await import('undici')
  const dispatcher = await dispatcherFor(url, { kind, ...limits }, context, signal)
  try {
    const response = await request(url, {
      dispatcher,
      signal,
      headers: { ...requestHeaders, ...(cached && validatorsOf(cached)) },
    })
    const { statusCode, headers, body } = response
    // A redirect's body is dropped unread, so its later errors do not matter.
    body.on('error', () => {})
    if (statusCode === 304 && cached !== undefined) {
      const freshness = freshnessOf({ etag: cached.etag, 'last-modified': cached.lastModified, ...headers })
      cache.set(url.href, { ...cached, ...freshness })
      return fromCache(cached)
    }
    if (statusCode >= 300 && statusCode < 400 && typeof headers.location === 'string')
      return { redirect: headers.location }
    if (statusCode !== 200)
      throw new OrielError(
        'invalid',
        `The ${kind} could not be fetched: its host responded with HTTP status ${statusCode}.`,
        { code: `${kind}_url_status` },
      )
    const bytes = await readFile(body, Number(headers['content-length'] ?? 0), kind, limits.maxBytes)
    const freshness = freshnessOf(headers)
    if (freshness !== undefined) cache.set(url.href, { bytes, ...freshness })
    else if (cached !== undefined) cache.delete(url.href)
    return { bytes, from: 'network' }
  } finally {
    // Not awaited: a graceful close waits for the host.
    void dispatcher.destroy().catch(() => {})
  }
}

const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, '')

/** A dispatcher that connects only to the checked addresses of this host, or to the proxy, which resolves names itself. */
async function dispatcherFor(
  url: URL,
  { kind, timeoutMs }: WantedUrl,
  context: DownloadContext,
  signal: AbortSignal,
): Promise<Dispatcher> {
  const { Agent, ProxyAgent } = await import('undici')
  const { config, allowsAddress, resolve } = context
  const host = hostOf(url)
  const isAddress = isIP(host) !== 0
  if (config.proxy !== null && !isAddress) return new ProxyAgent({ uri: config.proxy })
  // A running look-up cannot be stopped, so an abort only ends the wait for it.
  const addresses = isAddress
    ? [{ address: host, family: isIP(host) }]
    : await orAborted(lookUp(host, kind, resolve), signal, () => signal.reason)
  if (addresses.length === 0 || addresses.some(({ address }) => !allowsAddress(address)))
    throw notAllowed(kind, 'its host is not on the public internet')
  if (config.proxy !== null) return new ProxyAgent({ uri: config.proxy })
  const [first] = addresses
  const lookup: LookupFunction = (_host, options, callback) => {
    if (options.all) callback(null, [...addresses])
    else callback(null, first?.address ?? '', first?.family ?? 4)
  }
  return new Agent({ connect: { lookup, timeout: timeoutMs } })
}

async function lookUp(host: string, kind: AttachmentKind, resolve: Resolve): ReturnType<Resolve> {
  try {
    return await resolve(host)
  } catch (cause) {
    throw new OrielError('invalid', `The ${kind} could not be fetched: its host name could not be resolved.`, {
      code: `${kind}_url_unreachable`,
      cause,
    })
  }
}

/** Reads a body up to `maxBytes`, and stops as soon as its first bytes show that it is of another kind. */
async function readFile(
  body: AsyncIterable<Buffer>,
  announcedBytes: number,
  kind: AttachmentKind,
  maxBytes: number,
): Promise<Buffer> {
  if (announcedBytes > maxBytes) throw tooLarge(kind, `${announcedBytes} bytes`, maxBytes)
  const arrived = new ArrivedChunks()
  let isSniffed = false
  for await (const chunk of body) {
    arrived.add(chunk)
    const { length } = arrived
    if (length > maxBytes) throw tooLarge(kind, `${length} bytes so far`, maxBytes)
    if (isSniffed || length < sniffBytes) continue
    isSniffed = true
    const sniffed = sniff(kind, Buffer.concat(arrived.chunks))
    if (!sniffed.known)
      throw new OrielError(
        'unsupported_media',
        `The URL does not point to ${withArticle[kind]}: the data is ${sniffed.looksLike}.`,
        { code: `unsupported_${kind}` },
      )
  }
  return await joinChunks(arrived.chunks, arrived.length)
}

const withArticle: Record<AttachmentKind, string> = { image: 'an image', audio: 'audio', video: 'a video' }

const notAllowed = (kind: AttachmentKind, why: string): OrielError =>
  new OrielError('invalid', `The ${kind} URL is not allowed: ${why}.`, { code: `invalid_${kind}_url` })

const tooLarge = (kind: AttachmentKind, found: string, maxBytes: number): OrielError =>
  new OrielError('too_large', `The ${kind} is too large: ${found}; at most ${maxBytes} bytes are allowed per URL.`, {
    code: `${kind}_too_large`,
  })
