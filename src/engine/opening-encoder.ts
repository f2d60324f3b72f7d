import { OrielError } from '../errors.ts'
import type { AttachmentEncoder } from './encoder.ts'

/**
 * An encoder that is still being opened. Texts are answered meanwhile. Attachments wait for it, and if it cannot be opened,
 * they fail with the reason.
 */
export function whileOpening(opening: Promise<AttachmentEncoder>): AttachmentEncoder {
  let encoder: AttachmentEncoder | undefined
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
    opening: (span) => encoder?.opening(span) ?? null,
    has: (span) => encoder?.has(span) ?? false,
    async encode(span, bytes) {
      const opened = await opening.catch((error: unknown) => {
        throw unopened(error)
      })
      return opened.encode(span, bytes)
    },
    letGo: (span) => encoder?.letGo(span),
    adopt: (choice, modality) => encoder?.adopt(choice, modality),
    giveWay(decoding) {
      givesWay = decoding
      encoder?.giveWay(decoding)
    },
  }
}

/** What is wrong with a file is no fault of a request. */
function unopened(error: unknown): unknown {
  if (!(error instanceof OrielError)) return error
  return new OrielError('internal', `The encoders of this model cannot be used. ${error.message}`, {
    code: error.code,
    cause: error,
  })
}
