import type { MediaConfig } from '../config.ts'
import { OrielError } from '../errors.ts'
import { base64Length, decodeDataUrl } from './data-url.ts'
import { decode } from './decode.ts'
import { createFetch } from './fetch.ts'
import type { Picture, PictureSource } from './picture.ts'

export type { Picture, PictureSource } from './picture.ts'

/** Turns what requests name into pixels. Every byte from outside passes here. */
export interface Media {
  /**
   * Loads all pictures of one request side by side. The result has the order of the sources, whichever came first.
   * @param longestEdge what the model can use of a picture, in pixels: far larger ones are shrunk to twice that
   * @throws OrielError about the first source that fails, `param` set; nothing is ever left out in silence
   */
  load(sources: readonly PictureSource[], longestEdge: number, signal: AbortSignal): Promise<Picture[]>
}

export function createMedia(config: MediaConfig): Media {
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
              const bytes = /^https?:/i.test(url) ? await fetch(url, either) : decodeDataUrl(known(url))
              return await decode(bytes, config, longestEdge)
            } catch (error) {
              throw error instanceof OrielError ? error.at(param) : error
            }
          }),
        )
      } finally {
        failed.abort()
      }
    },
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
