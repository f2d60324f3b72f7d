import type { AttachmentKind } from '../../attachments.ts'
import { OrielError } from '../../errors.ts'

/** Characters before the data; a media type is much shorter. */
const mostBefore = 1000

/**
 * Where the base64 begins: behind `;base64,`, since the media type before it may have commas of its own, as that of a
 * browser's recorder: `data:video/mp4;codecs=avc1.42000a,mp4a.40.2;base64,`. Null for a `data:` URL without it.
 */
export function dataAt(url: string): number | null {
  if (!isDataUrl(url)) return 0
  return /^.*?;\s*base64\s*,/is.exec(url.slice(0, mostBefore))?.[0].length ?? null
}

const isDataUrl = (url: string): boolean => /^data:/i.test(url)

/**
 * Decodes a `data:` URL or plain base64, in either alphabet, with or without white space. The media type of the URL is
 * ignored, because it is often wrong.
 * @throws OrielError `invalid` that says what is malformed and where
 */
export function decodeDataUrl(url: string, kind: AttachmentKind): Buffer {
  const isUrl = isDataUrl(url)
  const malformed = (why: string): OrielError =>
    new OrielError(
      'invalid',
      `The ${kind}'s ${isUrl ? 'data URL' : 'base64'} is malformed: ${why}. Send the ${kind} as ${examples[kind]}, or as an http or https URL.`,
      { code: `invalid_${kind}_url` },
    )
  const at = dataAt(url)
  if (at === null && !url.includes(',')) throw malformed('the comma before the data is missing')
  if (at === null) throw malformed('";base64" before the comma is missing')
  const data = percentDecoded(url.slice(at))
  const bytes = Buffer.from(data, 'base64')
  // Node skips characters that are not base64; the length of the result tells whether it skipped any.
  if (bytes.length !== decodedLength(data)) {
    const wrong = data.search(/[^A-Za-z0-9+/\-_=\s]/)
    if (wrong >= 0)
      throw malformed(`character ${wrong + 1} of the data, ${JSON.stringify(data[wrong])}, is not a base64 character`)
    const dense = data.replace(/\s/g, '')
    if (bytes.length !== decodedLength(dense) || /=[^=]/.test(dense)) throw malformed('the base64 data is incomplete')
  }
  if (bytes.length === 0) throw malformed('the data is empty')
  return bytes
}

const examples: Record<AttachmentKind, string> = {
  image: 'data:image/png;base64,iVBOR…',
  audio: 'data:audio/ogg;base64,T2dnUw…',
  video: 'data:video/mp4;base64,AAAAIG…',
}

/** The number of bytes that dense base64 encodes; NaN for a length that base64 cannot have. */
function decodedLength(data: string): number {
  const characters = data.length - (data.endsWith('==') ? 2 : data.endsWith('=') ? 1 : 0)
  return characters % 4 === 1 ? Number.NaN : Math.floor((characters * 3) / 4)
}

function percentDecoded(data: string): string {
  return data.includes('%')
    ? data.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    : data
}
