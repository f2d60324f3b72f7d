import type { MediaConfig } from '../../config.ts'
import { cancelled, OrielError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { publicAddresses } from './addresses.ts'
import { ByteCache } from './cache.ts'
import { DiskCache } from './disk-cache.ts'
import { allowedDomains } from './domains.ts'
import { download, type Fetched, parseUrl, type Resolve, type Rules } from './download.ts'
import { resolver } from './resolve.ts'

export type { Resolve } from './download.ts'

/** Fetches pictures' bytes from addresses that strangers name. */
export interface Fetcher {
  /** One bound of time covers all of it, whoever began. @throws OrielError */
  fetch(url: string, signal: AbortSignal): Promise<Fetched>
  /** Forgets every file that was kept. */
  clear(): Promise<void>
}

export function createFetcher(config: MediaConfig, log?: Logger, resolve: Resolve = resolver()): Fetcher {
  const { cacheDir, cacheDirBytes } = config
  const cache = new ByteCache(
    config.cacheBytes,
    cacheDir === null ? undefined : new DiskCache(cacheDir, cacheDirBytes, log),
  )
  const rules: Rules = {
    config,
    allowsAddress: publicAddresses(config.allowPrivate),
    allowsHost: allowedDomains(config.allowDomains, config.denyDomains),
    resolve,
    cache,
  }
  const flights = new Map<string, Flight>()

  return {
    async fetch(text, signal) {
      const url = parseUrl(text, rules)
      let flight = flights.get(url.href)
      if (flight === undefined || flight.abandoned) {
        flight = new Flight((stop) => fetchWithin(url, rules, stop))
        const [own, key] = [flight, url.href]
        flights.set(key, own)
        void own.landed.finally(() => {
          if (flights.get(key) === own) flights.delete(key)
        })
      }
      return await flight.join(signal)
    },
    clear: () => cache.clear(),
  }
}

async function fetchWithin(url: URL, rules: Rules, stop: AbortSignal): Promise<Fetched> {
  const timeout = AbortSignal.timeout(rules.config.urlTimeoutMs)
  try {
    return await download(url, rules, AbortSignal.any([timeout, stop]))
  } catch (error) {
    if (error instanceof OrielError) throw error
    if (timeout.aborted)
      throw new OrielError('timeout', `The picture did not arrive within ${rules.config.urlTimeoutMs} ms.`, {
        code: 'image_url_timeout',
      })
    throw new OrielError('invalid', 'The picture could not be fetched: the connection failed.', {
      code: 'image_url_unreachable',
      cause: error,
    })
  }
}

/** One fetch that several wait for. It ends early when none of them does any more. */
class Flight {
  /** Never fails. */
  readonly landed: Promise<unknown>
  readonly #result: Promise<Fetched>
  readonly #stop = new AbortController()
  #waiting = 0

  constructor(fly: (stop: AbortSignal) => Promise<Fetched>) {
    this.#result = fly(this.#stop.signal)
    this.landed = this.#result.catch(() => {})
  }

  get abandoned(): boolean {
    return this.#stop.signal.aborted
  }

  async join(signal: AbortSignal): Promise<Fetched> {
    this.#waiting++
    let leave = (): void => {}
    const left = new Promise<never>((_, reject) => {
      leave = () => reject(cancelled())
      if (signal.aborted) leave()
      else signal.addEventListener('abort', leave, { once: true })
    })
    try {
      return await Promise.race([this.#result, left])
    } finally {
      signal.removeEventListener('abort', leave)
      if (--this.#waiting === 0) this.#stop.abort()
    }
  }
}
