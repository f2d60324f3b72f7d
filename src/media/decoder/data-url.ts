import { OrielError } from '../../errors.ts'

/**
 * The bytes of a `data:` URL or of plain base64, in either alphabet, with white space or without. The label of the type
 * is not believed, so it is not read.
 * @throws OrielError `invalid` that says what is wrong and where
 */
export function decodeDataUrl(url: string): Buffer {
  const isUrl = /^data:/i.test(url)
  const comma = isUrl ? url.indexOf(',') : -1
  if (isUrl && comma < 0) throw malformed('it has no comma before its data')
  if (isUrl && !/;\s*base64\s*$/i.test(url.slice(0, comma))) throw malformed('it is not marked ;base64')
  const data = percentDecoded(url.slice(comma + 1))
  const bytes = Buffer.from(data, 'base64')
  // Node skips whatever is not base64, so the length tells whether it skipped anything.
  if (bytes.length !== bytesOf(data)) {
    const wrong = data.search(/[^A-Za-z0-9+/\-_=\s]/)
    if (wrong >= 0)
      throw malformed(`character ${wrong + 1} of its data, ${JSON.stringify(data[wrong])}, is none of base64's`)
    const dense = data.replace(/\s/g, '')
    if (bytes.length !== bytesOf(dense) || /=[^=]/.test(dense)) throw malformed('its base64 data is not complete')
  }
  if (bytes.length === 0) throw malformed('it holds no data')
  return bytes
}

/** Bytes that so many characters are worth; half a byte for a length that no base64 has. */
function bytesOf(data: string): number {
  const characters = data.length - (data.endsWith('==') ? 2 : data.endsWith('=') ? 1 : 0)
  return characters % 4 === 1 ? Number.NaN : Math.floor((characters * 3) / 4)
}

function percentDecoded(data: string): string {
  return data.includes('%')
    ? data.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    : data
}

const malformed = (why: string): OrielError =>
  new OrielError(
    'invalid',
    `The picture's data URL is malformed: ${why}. It should look like data:image/png;base64,iVBOR…`,
    { code: 'invalid_image_url' },
  )
