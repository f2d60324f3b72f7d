/** Formats that can be decoded, by the names that messages use. */
export const formats = ['png', 'jpeg', 'gif', 'bmp', 'tiff', 'pnm', 'webp', 'avif', 'heic', 'pdf'] as const

export type Format = (typeof formats)[number]

/** The number of leading bytes that `sniff` looks at. */
export const sniffBytes = 64

/** `looksLike` completes "The data is ...". */
export type Sniffed = { known: true; format: Format } | { known: false; looksLike: string }

/** Detects a file's format by its first bytes. Media types and file names are not trusted. */
export function sniff(bytes: Uint8Array): Sniffed {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, sniffBytes)).toString('latin1')
  const format = head.startsWith('ftyp', 4) ? isoBrand(head) : signatures.find(([, matches]) => matches(head))?.[0]
  if (format !== undefined) return { known: true, format }
  const unsupported = unsupportedTypes.find(([, matches]) => matches(head))?.[0]
  return { known: false, looksLike: unsupported ?? 'in an unknown format' }
}

type Matches = (head: string) => boolean

const begins =
  (...magic: readonly string[]): Matches =>
  (head) =>
    magic.some((bytes) => head.startsWith(bytes))

/** From the specification of each format. */
const signatures: readonly [Format, Matches][] = [
  ['png', begins('\x89PNG\r\n\x1a\n')],
  ['jpeg', begins('\xff\xd8\xff')],
  ['gif', begins('GIF87a', 'GIF89a')],
  ['webp', (head) => head.startsWith('RIFF') && head.startsWith('WEBP', 8)],
  ['tiff', begins('II*\0', 'MM\0*', 'II+\0', 'MM\0+')],
  // Many texts begin with "BM". In a bitmap the length of the second header follows, which is at least 12 and below 256.
  ['bmp', (head) => head.startsWith('BM') && head.charCodeAt(14) >= 12 && head.startsWith('\0\0\0', 15)],
  ['pnm', (head) => /^P[1-7]\s/.test(head)],
  // PDF readers accept some bytes before the header.
  ['pdf', (head) => head.includes('%PDF-')],
]

/** HEIF and AVIF share a container: the major brand and the compatible brands name the codec. */
function isoBrand(head: string): Format | undefined {
  const brands = [head.slice(8, 12), ...(head.slice(16).match(/[\s\S]{4}/g) ?? [])]
  for (const brand of brands) {
    if (brand === 'avif' || brand === 'avis') return 'avif'
    if (/^(hei[cxms]|hev[cxms])$/.test(brand)) return 'heic'
  }
  return undefined
}

/** Types that cannot be decoded but are sent often enough for the error to name them. */
const unsupportedTypes: readonly [string, Matches][] = [
  ['SVG or XML, which is never rendered', (head) => /^(\xef\xbb\xbf)?\s*<(\?xml|!doctype svg|svg|!--)/i.test(head)],
  ['a web page', (head) => /^(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body)/i.test(head)],
  ['JPEG XL', begins('\xff\x0a', '\0\0\0\x0cJXL ')],
  ['JPEG 2000', begins('\xff\x4f\xff\x51', '\0\0\0\x0cjP ')],
  ['a Windows icon', begins('\0\0\x01\0', '\0\0\x02\0')],
  ['a Photoshop file', begins('8BPS')],
  ['a video', (head) => head.startsWith('ftyp', 4) || begins('\x1a\x45\xdf\xa3')(head) || head.startsWith('AVI ', 8)],
  ['compressed with gzip', begins('\x1f\x8b')],
  ['a zip archive or an office document', begins('PK\x03\x04')],
  ['JSON', (head) => /^\s*[[{]/.test(head)],
]
