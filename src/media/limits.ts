import { MessageChannel } from 'node:worker_threads'
import type { MediaConfig } from '../config.ts'
import { OrielError } from '../errors.ts'
import type { DecodedPicture } from './decoder/decoder-process.ts'
import type { FileHeader } from './decoder/protocol.ts'
import type { Picture, PictureSource } from './picture.ts'

/** Whether a URL is fetched; anything else carries its picture. */
export const isRemote = (url: string): boolean => /^https?:/i.test(url)

/**
 * What can be refused before any byte is looked at.
 * @throws OrielError with `param`
 */
export function checkSources(sources: readonly PictureSource[], { maxImages, maxBase64Bytes }: MediaConfig): void {
  const extra = sources[maxImages]
  if (extra !== undefined)
    throw new OrielError('invalid', `The request has ${sources.length} pictures, and ${maxImages} are allowed.`, {
      param: extra.param,
      code: 'too_many_images',
    })
  let sum = 0
  for (const { url, param } of sources) {
    checkScheme(url, param)
    sum += base64Length(url)
    if (sum > maxBase64Bytes)
      throw new OrielError(
        'too_large',
        `The request's base64 pictures are too large: ${sum} characters up to this one, and ${maxBase64Bytes} are allowed in all. Pictures by URL do not count.`,
        { param, code: 'images_too_large' },
      )
  }
}

function checkScheme(url: string, param: string): void {
  const scheme = /^([a-z][a-z0-9+.-]{0,30}):/i.exec(url)?.[1]?.toLowerCase()
  if (scheme === undefined || scheme === 'data' || scheme === 'http' || scheme === 'https') return
  throw new OrielError(
    'invalid',
    `The picture's URL is refused: it begins with ${scheme}:, and data:, http: and https: are known.`,
    { param, code: 'invalid_image_url' },
  )
}

function base64Length(url: string): number {
  if (isRemote(url)) return 0
  return /^data:/i.test(url) ? url.length - url.indexOf(',') - 1 : url.length
}

/** What the pictures of one request may be together. */
export class RequestBudget {
  readonly #config: MediaConfig
  #images = 0
  #pixels = 0

  constructor(config: MediaConfig) {
    this.#config = config
  }

  /** @returns pixels that decoding it will make. @throws OrielError */
  take({ sizes }: FileHeader): number {
    const { maxImages, maxPixels, maxTotalPixels } = this.#config
    const pixels = sizes.map(({ width, height }) => width * height)
    const large = sizes[pixels.findIndex((count) => count > maxPixels)]
    if (large !== undefined)
      throw new OrielError(
        'too_large',
        `The picture is too large: ${large.width} x ${large.height} pixels, and a picture may have ${maxPixels} pixels in all.`,
        { code: 'image_too_large' },
      )
    this.#images += sizes.length
    if (this.#images > maxImages)
      throw new OrielError(
        'invalid',
        `The request has ${this.#images} pictures with the pages and frames of this one, and ${maxImages} are allowed. Choose some with the extensions "pages" or "frames" beside the URL: "pages": "1-3,7".`,
        { code: 'too_many_images' },
      )
    const sum = pixels.reduce((total, count) => total + count, 0)
    this.#pixels += sum
    if (this.#pixels > maxTotalPixels)
      throw new OrielError(
        'too_large',
        `The request's pictures are too large: ${this.#pixels} pixels with this one, and ${maxTotalPixels} are allowed in all.`,
        { code: 'images_too_large' },
      )
    return sum
  }
}

/** Bounds the pixels that are being decoded at one time, in all requests. First come, first served. */
export class PixelsInFlight {
  readonly #most: number
  readonly #waiting: { pixels: number; go: () => void }[] = []
  #taken = 0

  constructor(most: number) {
    this.#most = most
  }

  /** Waits for room. More than there can be waits until it is alone. @returns a function that gives the room back */
  async take(wanted: number): Promise<() => void> {
    const pixels = Math.min(wanted, this.#most)
    if (this.#waiting.length > 0 || this.#taken + pixels > this.#most)
      await new Promise<void>((go) => this.#waiting.push({ pixels, go }))
    else this.#taken += pixels
    return () => {
      this.#taken -= pixels
      for (
        let next = this.#waiting[0];
        next !== undefined && this.#taken + next.pixels <= this.#most;
        next = this.#waiting[0]
      ) {
        this.#waiting.shift()
        this.#taken += next.pixels
        next.go()
      }
    }
  }
}

/** Bounds the pixels that all requests hold, from the decoder to the engine. Whoever comes when it is reached is refused. */
export class PixelsHeld {
  readonly #most: number
  #held = 0

  constructor(most: number) {
    this.#most = most
  }

  /**
   * @param signal lets go of everything that the request holds when it aborts
   * @returns what the request holds a picture by. It throws as this does when others leave no room; a request that is alone
   * is bounded by what a request may have.
   * @throws OrielError `overloaded`
   */
  newRequest(signal: AbortSignal): (picture: DecodedPicture) => Picture {
    if (this.#held >= this.#most) throw tooManyHeld()
    const holds = new Set<Held>()
    let own = 0
    const letGo = (picture: Held): void => {
      if (!holds.delete(picture)) return
      own -= picture.pixels
      this.#held -= picture.pixels
      forget(picture.rgb)
    }
    signal.addEventListener('abort', () => holds.forEach(letGo), { once: true })
    return (decoded) => {
      const pixels = decoded.width * decoded.height
      if (this.#held > own && this.#held + pixels > this.#most) throw tooManyHeld()
      const picture: Held = { ...decoded, pixels, letGo: () => letGo(picture) }
      holds.add(picture)
      own += pixels
      this.#held += pixels
      if (signal.aborted) letGo(picture)
      return picture
    }
  }
}

interface Held extends Picture {
  pixels: number
}

/** A port that nobody hears: what is handed over to it is gone. */
const { port1: nowhere, port2 } = new MessageChannel()
port2.close()
nowhere.close()

/** Frees the memory under an array at once, which has length 0 then: the garbage collector may take minutes over it. */
const forget = ({ buffer }: Uint8Array): void => nowhere.postMessage(null, [buffer as ArrayBuffer])

const tooManyHeld = (): OrielError =>
  new OrielError('overloaded', 'The pictures of other requests have taken all the room there is for pixels.', {
    code: 'too_many_pixels',
    retryAfter: 2,
  })
