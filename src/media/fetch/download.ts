import { readFileSync } from 'node:fs'
import { isIP, type LookupFunction } from 'node:net'
import { Agent, type Dispatcher, ProxyAgent, request } from 'undici'
import type { MediaConfig } from '../../config.ts'
import { OrielError } from '../../errors.ts'
import { sniff, sniffBytes } from '../format.ts'
import type { AddressCheck } from './addresses.ts'
import type { ByteCache } from './cache.ts'
import type { HostCheck } from './domains.ts'
import { freshnessOf, ifChanged, type KeptFile } from './freshness.ts'

/** Resolves a name to all of its addresses. */
export type Resolve = (host: string) => Promise<readonly { address: string; family: number }[]>

/** What every journey to a picture goes by. */
export interface Rules {
  readonly config: MediaConfig
  readonly allowsAddress: AddressCheck
  readonly allowsHost: HostCheck
  readonly resolve: Resolve
  readonly cache: ByteCache
}

export interface Fetched {
  readonly bytes: Buffer
  readonly from: 'network' | 'cache'
}

/**
 * Fetches one URL, from redirect to redirect. Each hop's host is resolved once, every address that comes back is checked,
 * and one of those is connected to and no other.
 * @throws OrielError about the URL, or whatever the connection failed with
 */
export async function download(start: URL, rules: Rules, signal: AbortSignal): Promise<Fetched> {
  let url = start
  for (let hop = 0; hop <= rules.config.maxRedirects; hop++) {
    const reached = await visit(url, rules, signal)
    if (!('redirect' in reached)) return reached
    url = parseUrl(reached.redirect, rules, url)
  }
  throw new OrielError(
    'invalid',
    `The picture could not be fetched: more than ${rules.config.maxRedirects} redirects.`,
    {
      code: 'image_url_redirects',
    },
  )
}

/**
 * The WHATWG parser is the only one here, and what it parsed is what is connected to.
 * @throws OrielError about everything that is no plain web address that may be fetched
 */
export function parseUrl(text: string, { allowsHost }: Rules, base?: URL): URL {
  if (!URL.canParse(text, base?.href)) throw refused('it is no valid URL')
  const url = new URL(text, base)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw refused('only http and https URLs are fetched')
  if (url.username !== '' || url.password !== '') throw refused('it holds credentials')
  if (!allowsHost(hostOf(url))) throw refused('its host is not among those that this server fetches from')
  url.hash = ''
  return url
}

const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
  version: string
}
const headers = {
  'user-agent': `Oriel/${version} (vision-language model server; fetches pictures that its users name)`,
  accept: 'image/*,application/pdf,*/*;q=0.1',
  // What is not compressed cannot grow; an answer that is compressed all the same is refused by what it begins with.
  'accept-encoding': 'identity',
}

/** One hop. @param url parsed and allowed */
async function visit(url: URL, rules: Rules, signal: AbortSignal): Promise<Fetched | { redirect: string }> {
  const { cache, config } = rules
  const kept = await cache.get(url.href)
  if (kept !== undefined && Date.now() < kept.freshUntil) return { bytes: kept.bytes, from: 'cache' }
  const dispatcher = await connector(url, rules, signal)
  try {
    const asked = kept === undefined ? headers : { ...headers, ...ifChanged(kept) }
    const response = await request(url, { dispatcher, signal, headers: asked })
    // It is of no use any more once the answer is understood, and its end may never come.
    response.body.on('error', () => {})
    const { statusCode, headers: told } = response
    if (statusCode === 304 && kept !== undefined) {
      keep(cache, url, { ...kept, ...freshnessOf({ etag: kept.etag, 'last-modified': kept.lastModified, ...told }) })
      return { bytes: kept.bytes, from: 'cache' }
    }
    if (statusCode >= 300 && statusCode < 400 && typeof told.location === 'string') return { redirect: told.location }
    if (statusCode !== 200)
      throw new OrielError(
        'invalid',
        `The picture could not be fetched: its host answered with status ${statusCode}.`,
        {
          code: 'image_url_status',
        },
      )
    const bytes = await readBounded(response.body, Number(told['content-length'] ?? 0), config.maxUrlBytes)
    const freshness = freshnessOf(told)
    if (freshness !== undefined) keep(cache, url, { bytes, ...freshness })
    else if (kept !== undefined) cache.delete(url.href)
    return { bytes, from: 'network' }
  } finally {
    // Not awaited: closing politely would wait for a host that may never finish.
    void dispatcher.destroy().catch(() => {})
  }
}

const keep = (cache: ByteCache, url: URL, file: KeptFile): void => cache.set(url.href, file)

const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, '')

/** A dispatcher that can reach this host's checked addresses and nothing else; or the proxy, which resolves names itself. */
async function connector(url: URL, rules: Rules, signal: AbortSignal): Promise<Dispatcher> {
  const { config, allowsAddress, resolve } = rules
  const host = hostOf(url)
  const isAddress = isIP(host) !== 0
  if (config.proxy !== null && !isAddress) return new ProxyAgent({ uri: config.proxy })
  const addresses = isAddress ? [{ address: host, family: isIP(host) }] : await within(signal, resolve(host))
  if (addresses.length === 0 || addresses.some(({ address }) => !allowsAddress(address)))
    throw refused('its host is not on the public internet')
  if (config.proxy !== null) return new ProxyAgent({ uri: config.proxy })
  const [first] = addresses
  const lookup: LookupFunction = (_host, options, callback) => {
    if (options.all) callback(null, [...addresses])
    else callback(null, first?.address ?? '', first?.family ?? 4)
  }
  return new Agent({ connect: { lookup, timeout: config.urlTimeoutMs } })
}

/** A resolver cannot be stopped, but it need not be waited for. */
async function within<T>(signal: AbortSignal, resolving: Promise<T>): Promise<T> {
  signal.throwIfAborted()
  let stop = (): void => {}
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
  })
  const found = resolving.catch((cause: unknown) => {
    throw new OrielError('invalid', 'The picture could not be fetched: its host was not found.', {
      code: 'image_url_unreachable',
      cause,
    })
  })
  return await Promise.race([found, aborted]).finally(() => signal.removeEventListener('abort', stop))
}

async function readBounded(body: AsyncIterable<Buffer>, announced: number, most: number): Promise<Buffer> {
  if (announced > most) throw tooLarge(`${announced} bytes`, most)
  const chunks: Buffer[] = []
  let length = 0
  let looked = false
  for await (const chunk of body) {
    chunks.push(chunk)
    length += chunk.length
    if (length > most) throw tooLarge('more', most)
    if (!looked && length >= sniffBytes) {
      looked = true
      const sniffed = sniff(Buffer.concat(chunks))
      if (!sniffed.known)
        throw new OrielError('unsupported_media', `The URL leads to no picture: its data is ${sniffed.looksLike}.`, {
          code: 'unsupported_image',
        })
    }
  }
  return Buffer.concat(chunks)
}

const refused = (why: string): OrielError =>
  new OrielError('invalid', `The picture's URL is refused: ${why}.`, { code: 'invalid_image_url' })

const tooLarge = (found: string, most: number): OrielError =>
  new OrielError('too_large', `The picture is too large: ${found}, and a URL's picture may have ${most} bytes.`, {
    code: 'image_too_large',
  })
