import { OrielError } from '../errors.ts'

/**
 * The bytes of a `data:` URL or of plain base64. The label of the type is not believed, so it is not read.
 * @throws OrielError `invalid` that says which character is none of base64's
 */
export function decodeDataUrl(url: string): Buffer {
  const comma = url.startsWith('data:') ? url.indexOf(',') : -1
  if (url.startsWith('data:') && comma < 0) throw malformed('it has no comma before its data')
  const header = url.slice(0, Math.max(0, comma))
  if (comma >= 0 && !/;base64$/i.test(header)) throw malformed('it is not marked ;base64')
  const data = url.slice(comma + 1)
  const bytes = Buffer.from(data, 'base64')
  // Node reads past whatever is no base64, so the length tells whether it skipped anything.
  if (bytes.length !== base64Bytes(data)) {
    const wrong = data.search(/[^A-Za-z0-9+/\-_=\s]/)
    if (wrong >= 0)
      throw malformed(`character ${wrong + 1} of its data, ${JSON.stringify(data[wrong])}, is none of base64's`)
    const dense = data.replace(/\s/g, '')
    if (bytes.length !== base64Bytes(dense)) throw malformed('its base64 data is not complete')
  }
  if (bytes.length === 0) throw malformed('it holds no data')
  return bytes
}

/** Characters of base64 that a URL carries; 0 for a URL that points elsewhere. */
export function base64Length(url: string): number {
  if (/^https?:/i.test(url)) return 0
  return url.startsWith('data:') ? url.length - url.indexOf(',') - 1 : url.length
}

function base64Bytes(data: string): number {
  const padding = data.endsWith('==') ? 2 : data.endsWith('=') ? 1 : 0
  return Math.floor(((data.length - padding) * 3) / 4)
}

const malformed = (why: string): OrielError =>
  new OrielError(
    'invalid',
    `The picture's data URL is malformed: ${why}. It should look like data:image/png;base64,iVBOR…`,
    {
      code: 'invalid_image_url',
    },
  )
