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
      const shared = downloads.get(url.href) ?? shareDownload(url, context)
      downloads.set(url.href, shared)
      shared.waiting++
      try {
        return await orAborted(shared.result, signal)
      } finally {
        shared.waiting--
        if (shared.waiting === 0) {
          downloads.delete(url.href)
          shared.stop.abort()
        }
      }
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
interface SharedDownload {
  readonly result: Promise<Fetched>
  readonly stop: AbortController
  waiting: number
}

function shareDownload(url: URL, context: DownloadContext): SharedDownload {
  const stop = new AbortController()
  return { result: downloadInTime(url, context, stop.signal), stop, waiting: 0 }
}
