import { onAbort, orAborted } from '../abort.ts'
import type { MediaConfig } from '../config.ts'
import { OrielError } from '../errors.ts'
import { Costs } from '../fairness.ts'
import type { Logger } from '../log.ts'
import { Semaphore } from '../semaphore.ts'
import type { AttachmentSource, Image, Loaded } from './attachment.ts'
import type { DecodedImage, RawImage } from './decoder/decoder-process.ts'
import { DecoderPool } from './decoder/pool.ts'
import type { FileHeader, ImageFile } from './decoder/protocol.ts'
import type { Fetched } from './fetch/download.ts'
import { createFetcher, type Resolve } from './fetch/fetch.ts'
import { boundPixels, checkSources, isRemote, requestBudget } from './limits.ts'

export type { AttachmentSource, Image, Loaded } from './attachment.ts'
export type { ImageFile } from './decoder/protocol.ts'

/** Turns the attachments of requests into pixels. All data from outside enters through this room. */
export interface Media {
  /**
   * Checks what needs no data: the number and kinds of attachments, their URL schemes, the size of their base64.
   * @throws OrielError with `param`
   */
  check(sources: readonly AttachmentSource[]): void
  /**
   * Loads all attachments of one request in parallel. The result has the order of the sources.
   * @param client whose request it is: clients share decoders, downloads and memory fairly
   * @param longestEdge the longest edge that the model can use, in pixels; larger images are shrunk to twice that
   * @param signal of the request. The pixels stay in memory until it aborts or `letGo` frees them.
   * @throws OrielError about the first source, in their order, that fails; `param` is set. A source is never left out.
   */
  load(
    sources: readonly AttachmentSource[],
    client: string,
    longestEdge: number,
    signal: AbortSignal,
  ): Promise<Loaded[]>
  /**
   * Starts to fetch what `load` will need, while the request waits for its model. `load` reports the errors.
   * @param signal the one that `load` will be given: it identifies the request
   */
  prefetch(sources: readonly AttachmentSource[], client: string, signal: AbortSignal): void
  /**
   * Writes an image as a file that a browser can show.
   * @throws OrielError `overloaded`, `cancelled`, `internal`
   */
  write(image: RawImage, client: string, signal: AbortSignal): Promise<ImageFile>
  /** Removes all fetched files from the cache. */
  clearCache(): Promise<void>
  /** Stops the decoders; running loads fail. It need not be called before the process exits. */
  close(): Promise<void>
}

/** @param resolve replaces the resolver of host names, for tests */
export function createMedia(config: MediaConfig, log?: Logger, resolve?: Resolve): Media {
  const fetcher = createFetcher(config, log, resolve)
  const costs = new Costs()
  const decoders = new DecoderPool(config.decoders, config.decodeTimeoutMs, costs, log)
  const pixelsInFlight = halved(config.maxPixelsInFlight, costs)
  const downloads = halved(maxDownloads, costs)
  const newRequest = boundPixels(config.maxPixelsHeld)
  const prefetches = halved(maxPrefetches, costs)
  const prefetched = new WeakMap<AbortSignal, { files: Map<string, Promise<Fetched>>; release(): void }>()
  const takePrefetched = (signal: AbortSignal) => {
    const early = prefetched.get(signal)
    prefetched.delete(signal)
    early?.release()
    return early?.files
  }
  void decoders.warm()

  const loadOne = async (
    { url, pages }: AttachmentSource,
    { client, maxPages, longestEdge, budget, count, early }: RequestContext,
    signal: AbortSignal,
  ): Promise<Loaded> => {
    const start = performance.now()
    // The file takes memory until it is decoded.
    const release = isRemote(url) ? await downloads.acquire(client, 1, signal) : () => {}
    try {
      const fetching = isRemote(url) ? (early?.get(url) ?? fetcher.fetch(url, signal)) : undefined
      const fetched = fetching && (await orAborted(fetching, signal))
      const decodeStart = performance.now()
      const { header, images } = await decoders.decode(
        client,
        { payload: fetched?.bytes ?? url, options: { pages, maxPages, longestEdge } },
        (header) => pixelsInFlight.acquire(client, budget(header), signal),
        signal,
      )
      return {
        kind: 'image',
        images: images.map(count),
        format: header.format,
        pagesInFile: header.pages,
        bytes: header.bytes,
        from: fetched?.from ?? 'request',
        fetchMs: fetched === undefined ? 0 : decodeStart - start,
        decodeMs: performance.now() - decodeStart,
      }
    } finally {
      release()
    }
  }

  return {
    check: (sources) => checkSources(sources, config),
    async load(sources, client, longestEdge, signal) {
      if (sources.length === 0) return []
      checkSources(sources, config)
      // Each of the other sources is at least one image.
      const maxPages = config.maxImages - sources.length + 1
      const context = {
        client,
        maxPages,
        longestEdge,
        budget: requestBudget(config),
        count: newRequest(client, signal),
        early: takePrefetched(signal),
      }
      return await inOrder(sources, signal, async (source, stop) => {
        try {
          return await loadOne(source, context, stop)
        } catch (error) {
          throw error instanceof OrielError ? error.at(source.param) : error
        }
      })
    },
    prefetch(sources, client, signal) {
      const urls = new Set(sources.map(({ url }) => url).filter(isRemote))
      if (urls.size === 0 || prefetched.has(signal) || signal.aborted) return
      const release = prefetches.tryAcquire(client, urls.size)
      if (release === undefined) return
      onAbort(signal, () => takePrefetched(signal))
      const files = new Map([...urls].map((url) => [url, fetcher.fetch(url, signal)]))
      for (const fetched of files.values()) fetched.catch(() => {})
      prefetched.set(signal, { files, release })
    },
    write: (image, client, signal) => decoders.write(client, image, signal),
    clearCache: () => fetcher.clear(),
    close: () => decoders.close(),
  }
}

/** Files that may be in memory for requests that wait for their model. Further requests fetch theirs afterwards. */
const maxPrefetches = 64
/** Files that are fetched, or that have been and wait to be decoded. */
const maxDownloads = 64

/** A bound of which one client has half at most, so that there is always some for another one. */
const halved = (capacity: number, costs: Costs): Semaphore =>
  new Semaphore({ capacity, mostOfOne: Math.ceil(capacity / 2) }, costs)

interface RequestContext {
  client: string
  /** Downloads by URL that began before the load. */
  early: ReadonlyMap<string, Promise<Fetched>> | undefined
  maxPages: number
  longestEdge: number
  budget: (header: FileHeader) => number
  count: (decoded: DecodedImage) => Image
}

/**
 * Works on all items in parallel. When one fails, the items after it are stopped and the items before it are awaited, so
 * that the error is always that of the first failing item, whichever fails earliest.
 */
async function inOrder<Item, Result>(
  items: readonly Item[],
  signal: AbortSignal,
  work: (item: Item, stop: AbortSignal) => Promise<Result>,
): Promise<Result[]> {
  const stops = items.map(() => new AbortController())
  const results = await Promise.allSettled(
    items.map(async (item, index) => {
      try {
        return await work(item, AbortSignal.any([signal, stops[index]?.signal ?? signal]))
      } catch (error) {
        for (const later of stops.slice(index + 1)) later.abort()
        throw error
      }
    }),
  )
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
}
