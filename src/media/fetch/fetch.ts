import { orAborted } from '../../abort.ts'
import type { MediaConfig } from '../../config.ts'
import { OrielError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { allowedDomains, publicAddresses } from './addresses.ts'
import { FileCache } from './cache.ts'
import { DiskCache } from './disk-cache.ts'
import { type DownloadContext, download, type Fetched, parseUrl, type Resolve } from './download.ts'
import { resolver } from './resolve.ts'

export type { Resolve } from './download.ts'

/** Fetches files from URLs that clients send. */
export interface Fetcher {
  /**
   * Requests for the same URL at the same time share one download and its time limit.
   * @throws OrielError about the URL, or `cancelled`
   */
  fetch(url: string, signal: AbortSignal): Promise<Fetched>
  /** Removes all files from the cache. */
  clear(): Promise<void>
}

export function createFetcher(config: MediaConfig, log?: Logger, resolve: Resolve = resolver()): Fetcher {
  const { cacheDir, cacheDirBytes } = config
  const disk = cacheDir === null || cacheDirBytes === 0 ? undefined : new DiskCache(cacheDir, cacheDirBytes, log)
  const context: DownloadContext = {
    config,
    allowsAddress: publicAddresses(config.allowPrivate),
    allowsHost: allowedDomains(config.allowDomains, config.denyDomains),
    resolve,
    cache: new FileCache(config.cacheBytes, disk),
  }
  const downloads = new Map<string, SharedDownload>()

  return {
    async fetch(text, signal) {
      const url = parseUrl(text, context)
      let shared = downloads.get(url.href)
      if (shared === undefined || shared.stopped) {
        const started = new SharedDownload((stop) => downloadInTime(url, context, stop))
        downloads.set(url.href, started)
        void started.settled.finally(() => {
          if (downloads.get(url.href) === started) downloads.delete(url.href)
        })
        shared = started
      }
      return await shared.join(signal)
    },
    clear: () => context.cache.clear(),
  }
}

async function downloadInTime(url: URL, context: DownloadContext, stop: AbortSignal): Promise<Fetched> {
  const { urlTimeoutMs } = context.config
  const timeout = AbortSignal.timeout(urlTimeoutMs)
  try {
    return await download(url, context, AbortSignal.any([timeout, stop]))
  } catch (error) {
    if (error instanceof OrielError) throw error
    if (timeout.aborted)
      throw new OrielError('timeout', `The image could not be fetched: it took longer than ${urlTimeoutMs} ms.`, {
        code: 'image_url_timeout',
      })
    throw new OrielError('invalid', 'The image could not be fetched: the connection to its host failed.', {
      code: 'image_url_unreachable',
      cause: error,
    })
  }
}

/** One download for several requests. It stops when all of them have left. */
class SharedDownload {
  /** Resolves when the download has ended, in whatever way. */
  readonly settled: Promise<unknown>
  readonly #result: Promise<Fetched>
  readonly #stop = new AbortController()
  #joined = 0

  constructor(start: (stop: AbortSignal) => Promise<Fetched>) {
    this.#result = start(this.#stop.signal)
    this.settled = this.#result.catch(() => {})
  }

  get stopped(): boolean {
    return this.#stop.signal.aborted
  }

  /** @throws OrielError `cancelled` when the signal aborts first */
  async join(signal: AbortSignal): Promise<Fetched> {
    this.#joined++
    try {
      return await orAborted(this.#result, signal)
    } finally {
      if (--this.#joined === 0) this.#stop.abort()
    }
  }
}
