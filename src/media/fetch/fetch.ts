import { lookup } from 'node:dns/promises'
import type { LookupFunction } from 'node:net'
import { Agent, request } from 'undici'
import type { MediaConfig } from '../../config.ts'
import { OrielError } from '../../errors.ts'
import { sniff, sniffBytes } from '../format.ts'
import { type AddressCheck, publicAddresses } from './addresses.ts'

/** Resolves a name to all of its addresses. */
export type Resolve = (host: string) => Promise<readonly { address: string; family: number }[]>

interface Fetched {
  readonly bytes: Buffer
  readonly from: 'network' | 'cache'
}

/** Fetches a picture's bytes. @throws OrielError */
export type Fetch = (url: string, signal: AbortSignal) => Promise<Fetched>

const userAgent = 'Oriel/0.1 (vision-language model server; fetches pictures that its users name)'

/**
 * A client for addresses that strangers name. It resolves a host once, checks every address that comes back, and connects
 * to one of those and no other; each redirect goes through the same again. One bound of time covers all of it.
 */
export function createFetch(
  config: MediaConfig,
  resolve: Resolve = (host) => lookup(host, { all: true, verbatim: true }),
): Fetch {
  const allows = publicAddresses(config.allowPrivate)
  return async (url, signal) => {
    const timeout = AbortSignal.timeout(config.urlTimeoutMs)
    try {
      const bytes = await follow(url, { config, allows, resolve, signal: AbortSignal.any([timeout, signal]) })
      return { bytes, from: 'network' }
    } catch (error) {
      if (error instanceof OrielError) throw error
      if (signal.aborted) throw new OrielError('cancelled', 'The request was cancelled.')
      if (timeout.aborted)
        throw new OrielError('timeout', `The picture did not arrive within ${config.urlTimeoutMs} ms.`, {
          code: 'image_url_timeout',
        })
      throw new OrielError('invalid', 'The picture could not be fetched: the connection failed.', {
        code: 'image_url_unreachable',
        cause: error,
      })
    }
  }
}

interface Journey {
  config: MediaConfig
  allows: AddressCheck
  resolve: Resolve
  signal: AbortSignal
}

async function follow(start: string, journey: Journey): Promise<Buffer> {
  const { config, signal } = journey
  let url = parse(start)
  for (let hop = 0; hop <= config.maxRedirects; hop++) {
    const agent = new Agent({ connect: { lookup: await pinned(url, journey), timeout: config.urlTimeoutMs } })
    try {
      const response = await request(url, {
        dispatcher: agent,
        signal,
        headers: { 'user-agent': userAgent, accept: 'image/*,*/*;q=0.1', 'accept-encoding': 'identity' },
      })
      const next = response.headers.location
      if (response.statusCode >= 300 && response.statusCode < 400 && typeof next === 'string') {
        await response.body.dump({ limit: 16_384 }).catch(() => {})
        url = parse(next, url)
        continue
      }
      if (response.statusCode !== 200)
        throw new OrielError(
          'invalid',
          `The picture could not be fetched: its host answered with status ${response.statusCode}.`,
          {
            code: 'image_url_status',
          },
        )
      return await readBounded(response.body, Number(response.headers['content-length'] ?? 0), config.maxUrlBytes)
    } finally {
      // Not awaited: closing politely would wait for a host that may never finish.
      void agent.destroy().catch(() => {})
    }
  }
  throw new OrielError('invalid', `The picture could not be fetched: more than ${config.maxRedirects} redirects.`, {
    code: 'image_url_redirects',
  })
}

/** The WHATWG parser is the only one here, and what it parsed is what is connected to. */
function parse(text: string, base?: URL): URL {
  let url: URL
  try {
    url = new URL(text, base)
  } catch {
    throw refused('it is no valid URL')
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw refused('only http and https URLs are fetched')
  if (url.username !== '' || url.password !== '') throw refused('it holds credentials')
  return url
}

/** Resolves a host and checks all of its addresses. @returns a lookup that knows only these */
async function pinned(url: URL, { allows, resolve, signal }: Journey): Promise<LookupFunction> {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const addresses = await Promise.race([
    resolve(host).catch((error: unknown) => {
      throw new OrielError('invalid', 'The picture could not be fetched: its host was not found.', {
        code: 'image_url_unreachable',
        cause: error,
      })
    }),
    new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true })),
  ])
  if (addresses.length === 0 || addresses.some(({ address }) => !allows(address)))
    throw refused('its host is not on the public internet')
  const [first] = addresses
  return (_host, options, callback) => {
    if (options.all) callback(null, [...addresses])
    else callback(null, first?.address ?? '', first?.family ?? 4)
  }
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
