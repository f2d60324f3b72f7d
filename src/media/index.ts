import type { MediaConfig } from '../config.ts'
import { OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { base64Length, decodeDataUrl } from './data-url.ts'
import { decode } from './decode.ts'
import { createFetch } from './fetch.ts'
import { sniff } from './format.ts'
import type { Loaded, PictureSource } from './picture.ts'

export type { Loaded, Picture, PictureSource } from './picture.ts'

/** Turns what requests name into pixels. Every byte from outside passes here. */
export interface Media {
  /**
   * Loads all pictures of one request side by side. The result has the order of the sources, whichever came first.
   * @param longestEdge what the model can use of a picture, in pixels: far larger ones are shrunk to twice that
   * @throws OrielError about the first source that fails, `param` set; nothing is ever left out in silence
   */
  load(sources: readonly PictureSource[], longestEdge: number, signal: AbortSignal): Promise<Loaded[]>
  /** Forgets every file that was kept of an earlier fetch. */
  clearCache(): Promise<void>
  /** Ends the decoders; loads that still run fail. A process that merely ends need not call it. */
  close(): Promise<void>
}

export function createMedia(config: MediaConfig, _log?: Logger): Media {
  const fetch = createFetch(config)
  return {
    async load(sources, longestEdge, signal) {
      checkCounts(sources, config)
      const failed = new AbortController()
      const either = AbortSignal.any([signal, failed.signal])
      try {
        return await Promise.all(
          sources.map(async ({ url, param }) => {
            try {
              const start = performance.now()
              const remote = /^https?:/i.test(url)
              const bytes = remote ? await fetch(url, either) : decodeDataUrl(known(url))
              const fetched = performance.now()
              const picture = await decode(bytes, config, longestEdge)
              return {
                pictures: [{ ...picture, original: picture, page: 1 }],
                format: sniff(bytes),
                bytes: bytes.length,
                from: remote ? ('network' as const) : ('request' as const),
                fetchMs: fetched - start,
                decodeMs: performance.now() - fetched,
              }
            } catch (error) {
              throw error instanceof OrielError ? error.at(param) : error
            }
          }),
        )
      } finally {
        failed.abort()
      }
    },
    async clearCache() {},
    async close() {},
  }
}

function known(url: string): string {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase()
  if (scheme === undefined || scheme === 'data') return url
  throw new OrielError(
    'invalid',
    `The picture's URL is refused: it begins with ${scheme}:, and data:, http: and https: are known.`,
    {
      code: 'invalid_image_url',
    },
  )
}

function checkCounts(sources: readonly PictureSource[], { maxImages, maxBase64Bytes }: MediaConfig): void {
  const extra = sources[maxImages]
  if (extra !== undefined)
    throw new OrielError('invalid', `The request has ${sources.length} pictures, and ${maxImages} are allowed.`, {
      param: extra.param,
      code: 'too_many_images',
    })
  let sum = 0
  for (const { url, param } of sources) {
    sum += base64Length(url)
    if (sum > maxBase64Bytes)
      throw new OrielError(
        'too_large',
        `The request's base64 pictures have more than ${maxBase64Bytes} characters together, which is the most allowed.`,
        {
          param,
          code: 'images_too_large',
        },
      )
  }
}
