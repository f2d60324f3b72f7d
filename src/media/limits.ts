import { onAbort } from '../abort.ts'
import type { MediaConfig } from '../config.ts'
import { OrielError } from '../errors.ts'
import type { AttachmentSource } from './attachment.ts'
import type { FileHeader } from './decoder/protocol.ts'

/** Whether a URL has to be fetched; any other URL carries its data. */
export const isRemote = (url: string): boolean => /^https?:/i.test(url)

/**
 * Checks what needs no data: the number and kinds of the sources, their URL schemes, and the size of their base64.
 * @throws OrielError with `param`
 */
export function checkSources(sources: readonly AttachmentSource[], { maxImages, maxBase64Bytes }: MediaConfig): void {
  const extra = sources[maxImages]
  if (extra !== undefined)
    throw new OrielError('invalid', `The request has ${sources.length} images; at most ${maxImages} are allowed.`, {
      param: extra.param,
      code: 'too_many_images',
    })
  let total = 0
  for (const { kind, url, param } of sources) {
    if (kind !== 'image')
      throw new OrielError('unsupported_media', `The request contains ${kind}; only images can be read.`, {
        param,
        code: `${kind}_not_supported`,
      })
    checkScheme(url, param)
    total += base64Length(url)
    if (total > maxBase64Bytes)
      throw new OrielError(
        'too_large',
        `The base64 images of the request are too large: ${total} characters up to and including this one; at most ${maxBase64Bytes} are allowed in total. Images sent by URL do not count.`,
        { param, code: 'images_too_large' },
      )
  }
}

function checkScheme(url: string, param: string): void {
  const scheme = /^([a-z][a-z0-9+.-]{0,30}):/i.exec(url)?.[1]?.toLowerCase()
  if (scheme === undefined || scheme === 'data' || scheme === 'http' || scheme === 'https') return
  throw new OrielError(
    'invalid',
    `The image URL is not allowed: its scheme is ${scheme}:, and only data:, http: and https: are supported.`,
    { param, code: 'invalid_image_url' },
  )
}

function base64Length(url: string): number {
  if (isRemote(url)) return 0
  return /^data:/i.test(url) ? url.length - url.indexOf(',') - 1 : url.length
}

/**
 * Counts the images and pixels of one request against its limits.
 * @returns a function that takes a file's header and returns the pixels that decoding the file will produce. It throws an
 * OrielError when the file exceeds a limit.
 */
export function requestBudget({ maxImages, maxPixels, maxTotalPixels }: MediaConfig): (header: FileHeader) => number {
  let images = 0
  let total = 0
  return ({ sizes }) => {
    const pixels = sizes.map(({ width, height }) => width * height)
    const large = sizes[pixels.findIndex((count) => count > maxPixels)]
    if (large !== undefined)
      throw new OrielError(
        'too_large',
        `The image is too large: ${large.width} x ${large.height} pixels; at most ${maxPixels} pixels are allowed per image.`,
        { code: 'image_too_large' },
      )
    images += sizes.length
    if (images > maxImages)
      throw new OrielError(
        'invalid',
        `The request has ${images} images, counting each page and frame up to and including this file; at most ${maxImages} are allowed. Select fewer with the extension "pages" or "frames" next to the URL, for example "pages": "1-3,7".`,
        { code: 'too_many_images' },
      )
    const sum = pixelsIn({ sizes })
    total += sum
    if (total > maxTotalPixels)
      throw new OrielError(
        'too_large',
        `The images of the request are too large: ${total} pixels up to and including this one; at most ${maxTotalPixels} are allowed in total.`,
        { code: 'images_too_large' },
      )
    return sum
  }
}

/** Pixels of all selected pages of a file. */
export const pixelsIn = ({ sizes }: Pick<FileHeader, 'sizes'>): number =>
  sizes.reduce((sum, { width, height }) => sum + width * height, 0)

/** Holds memory for a request until the function that it returns is called, or the request is over. @throws OrielError `overloaded` */
export type Hold = (pixels: number, free: () => void) => () => void

/**
 * Bounds the decoded pixels in memory, from the decoder to the engine, over all requests. Beyond the limit it refuses, and
 * one client beyond half of it.
 * @returns `newRequest(client, signal)`, which throws `overloaded` if a limit is reached already. When its signal aborts,
 * everything that the request holds is freed. It returns `hold`, which throws `overloaded` if the pixels of other requests
 * leave no space; a request that is alone is bounded by its own limits only.
 */
export function boundPixels(limit: number): (client: string, signal: AbortSignal) => Hold {
  let held = 0
  const heldBy = new Map<string, number>()
  return (client, signal) => {
    const holding = new Set<() => void>()
    let own = 0
    const count = (pixels: number): void => {
      own += pixels
      held += pixels
      heldBy.set(client, (heldBy.get(client) ?? 0) + pixels)
      if (heldBy.get(client) === 0) heldBy.delete(client)
    }
    const check = (pixels: number): void => {
      const mine = heldBy.get(client) ?? 0
      if ((mine > own && mine + pixels > limit / 2) || (held > own && held + pixels > limit)) throw tooManyHeld()
    }
    check(1)
    onAbort(signal, () => {
      for (const letGo of holding) letGo()
    })
    return (pixels, free) => {
      check(pixels)
      const letGo = (): void => {
        if (!holding.delete(letGo)) return
        count(-pixels)
        free()
      }
      holding.add(letGo)
      count(pixels)
      if (signal.aborted) letGo()
      return letGo
    }
  }
}

const tooManyHeld = (): OrielError =>
  new OrielError('overloaded', 'The server holds too many decoded images of other requests. Try again later.', {
    code: 'too_many_pixels',
    retryAfter: 2,
  })
