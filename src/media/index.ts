import type { MediaConfig } from '../config.ts'
import { OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { DecodedPicture } from './decoder/decoder-process.ts'
import { DecoderPool } from './decoder/pool.ts'
import { createFetcher, type Resolve } from './fetch/fetch.ts'
import { checkSources, isRemote, PixelsHeld, PixelsInFlight, RequestBudget } from './limits.ts'
import type { Loaded, Picture, PictureSource } from './picture.ts'

export type { Loaded, PictureSource as AttachmentSource, PictureSource } from './picture.ts'

/** Turns what requests name into pixels. Every byte from outside passes here. */
export interface Media {
  /**
   * Loads all pictures of one request side by side. The result has the order of the sources, whichever came first.
   * @param longestEdge what the model can use of a picture, in pixels: far larger ones are shrunk to twice that
   * @param signal the request's, which holds the pixels until it aborts, as far as nobody lets them go before
   * @throws OrielError about the first source that fails, `param` set; nothing is ever left out in silence
   */
  load(sources: readonly PictureSource[], longestEdge: number, signal: AbortSignal): Promise<Loaded[]>
  /** Forgets every file that was kept of an earlier fetch. */
  clearCache(): Promise<void>
  /** Ends the decoders; loads that still run fail. A process that merely ends need not call it. */
  close(): Promise<void>
}

/** @param resolve in place of the system's resolver, for tests */
export function createMedia(config: MediaConfig, log?: Logger, resolve?: Resolve): Media {
  const fetcher = createFetcher(config, log, resolve)
  const decoders = new DecoderPool({ processes: config.decoders, timeoutMs: config.decodeTimeoutMs, log })
  const inFlight = new PixelsInFlight(config.maxPixelsInFlight)
  const pixelsHeld = new PixelsHeld(config.maxPixelsHeld)
  void decoders.warm()

  const loadOne = async (
    { url, pages }: PictureSource,
    { mostPages, longestEdge, budget, hold }: RequestContext,
    signal: AbortSignal,
  ): Promise<Loaded> => {
    const start = performance.now()
    const fetched = isRemote(url) ? await fetcher.fetch(url, signal) : undefined
    const decodeStart = performance.now()
    const { header, pictures } = await decoders.decode(
      { payload: fetched?.bytes ?? url, options: { pages, mostPages, longestEdge } },
      (header) => inFlight.take(budget.take(header)),
      signal,
    )
    return {
      pictures: pictures.map(hold),
      format: header.format,
      pagesInFile: header.pages,
      bytes: header.bytes,
      from: fetched?.from ?? 'request',
      fetchMs: fetched === undefined ? 0 : decodeStart - start,
      decodeMs: performance.now() - decodeStart,
    }
  }

  return {
    async load(sources, longestEdge, signal) {
      if (sources.length === 0) return []
      checkSources(sources, config)
      // Every other source is at least one picture.
      const mostPages = config.maxImages - sources.length + 1
      const context = { mostPages, longestEdge, budget: new RequestBudget(config), hold: pixelsHeld.newRequest(signal) }
      return await inOrder(sources, signal, async (source, stop) => {
        try {
          return await loadOne(source, context, stop)
        } catch (error) {
          throw error instanceof OrielError ? error.at(source.param) : error
        }
      })
    },
    clearCache: () => fetcher.clear(),
    close: () => decoders.close(),
  }
}

interface RequestContext {
  mostPages: number
  longestEdge: number
  budget: RequestBudget
  hold: (picture: DecodedPicture) => Picture
}

/**
 * Works on all items at once. When one fails, those behind it are stopped and those before it are waited for: so the
 * error is that of the first item that fails, in their order and not in that of time.
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
