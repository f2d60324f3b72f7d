import { OrielError } from '../errors.ts'
import type { ImageEncoder } from './image-encoder.ts'

/**
 * An encoder that is still being opened. Texts are answered meanwhile. Images wait for it, and if it cannot be opened, they
 * fail with the reason.
 */
export function whileOpening(opening: Promise<ImageEncoder>): ImageEncoder {
  let encoder: ImageEncoder | undefined
  let isOpening = true
  let givesWay = false
  opening
    .then((opened) => {
      encoder = opened
      encoder.giveWay(givesWay)
    })
    .catch(() => {})
    .finally(() => {
      isOpening = false
    })
  return {
    get busy() {
      return isOpening || (encoder?.busy ?? false)
    },
    get cachedBytes() {
      return encoder?.cachedBytes ?? 0
    },
    cached: (key) => encoder?.cached(key),
    has: (span) => encoder?.has(span) ?? false,
    async encode(span, rgb) {
      const opened = await opening.catch((error: unknown) => {
        throw unopened(error)
      })
      return opened.encode(span, rgb)
    },
    letGo: (span) => encoder?.letGo(span),
    adopt: (choice) => encoder?.adopt(choice),
    giveWay(decoding) {
      givesWay = decoding
      encoder?.giveWay(decoding)
    },
  }
}

/** What is wrong with a file is no fault of a request. */
function unopened(error: unknown): unknown {
  if (!(error instanceof OrielError)) return error
  return new OrielError('internal', `This model cannot see. ${error.message}`, { code: error.code, cause: error })
}
