import { orAborted } from '../../abort.ts'
import type { AttachmentKind } from '../../attachments.ts'
import type { MediaConfig } from '../../config.ts'
import { OrielError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { allowedDomains, publicAddresses } from './addresses.ts'
import { FileCache } from './cache.ts'
import { DiskCache } from './disk-cache.ts'
import { type DownloadContext, download, type Fetched, parseUrl, type Resolve, type WantedUrl } from './download.ts'
import { resolver } from './resolve.ts'

export type { Resolve } from './download.ts'

/** Fetches files from URLs that clients send. */
export interface Fetcher {
  /**
   * Requests for the same URL and kind at the same time share one download and its time limit.
   * @throws OrielError about the URL, or `cancelled`
   */
  fetch(url: string, kind: AttachmentKind, signal: AbortSignal): Promise<Fetched>
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
    async fetch(text, kind, signal) {
      const url = parseUrl(text, kind, context)
      const key = `${kind} ${url.href}`
      const shared = downloads.get(key) ?? shareDownload(url, wantedUrl(kind, config), context)
      downloads.set(key, shared)
      shared.waiting++
      try {
        return await orAborted(shared.result, signal)
      } finally {
        shared.waiting--
        if (shared.waiting === 0) {
          downloads.delete(key)
          shared.stop.abort()
        }
      }
    },
    clear: () => context.cache.clear(),
  }
}

/** What a URL may point to, and its limits. */
export const wantedUrl = (kind: AttachmentKind, config: MediaConfig): WantedUrl =>
  kind === 'image'
    ? { kind, maxBytes: config.maxUrlBytes, timeoutMs: config.urlTimeoutMs }
    : { kind, maxBytes: config.maxRecordingUrlBytes, timeoutMs: config.recordingUrlTimeoutMs }

async function downloadInTime(
  url: URL,
  wanted: WantedUrl,
  context: DownloadContext,
  stop: AbortSignal,
): Promise<Fetched> {
  const { kind, timeoutMs } = wanted
  const timeout = AbortSignal.timeout(timeoutMs)
  try {
    return await download(url, wanted, context, AbortSignal.any([timeout, stop]))
  } catch (error) {
    if (error instanceof OrielError) throw error
    if (timeout.aborted)
      throw new OrielError('url_timeout', `The ${kind} could not be fetched: it took longer than ${timeoutMs} ms.`, {
        code: `${kind}_url_timeout`,
      })
    throw new OrielError('invalid', `The ${kind} could not be fetched: the connection to its host failed.`, {
      code: `${kind}_url_unreachable`,
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

function shareDownload(url: URL, wanted: WantedUrl, context: DownloadContext): SharedDownload {
  const stop = new AbortController()
  return { result: downloadInTime(url, wanted, context, stop.signal), stop, waiting: 0 }
}
