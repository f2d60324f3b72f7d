/** Formats that are read, by the names that messages use. */
export const formats = ['png', 'jpeg', 'gif', 'bmp', 'tiff', 'pnm', 'webp', 'avif', 'heic', 'pdf'] as const

export type Format = (typeof formats)[number]

/** Bytes that are looked at, at most. */
export const sniffBytes = 64

/** What a file is by its first bytes. Labels and names are not asked. */
export type Sniffed = { known: true; format: Format } | { known: false; looksLike: string }

export function sniff(bytes: Uint8Array): Sniffed {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, sniffBytes)).toString('latin1')
  const format = head.startsWith('ftyp', 4) ? isoBrand(head) : signatures.find(([, matches]) => matches(head))?.[0]
  if (format !== undefined) return { known: true, format }
  const stranger = strangers.find(([, matches]) => matches(head))?.[0]
  return { known: false, looksLike: stranger ?? 'of no kind that is known' }
}

type Matches = (head: string) => boolean

const begins =
  (...signs: readonly string[]): Matches =>
  (head) =>
    signs.some((sign) => head.startsWith(sign))

/** Each from the first lines of its format's specification. */
const signatures: readonly [Format, Matches][] = [
  ['png', begins('\x89PNG\r\n\x1a\n')],
  ['jpeg', begins('\xff\xd8\xff')],
  ['gif', begins('GIF87a', 'GIF89a')],
  ['webp', (head) => head.startsWith('RIFF') && head.startsWith('WEBP', 8)],
  ['tiff', begins('II*\0', 'MM\0*', 'II+\0', 'MM\0+')],
  // "BM" alone begins many a text; the length of the second header is one of a few, and small.
  ['bmp', (head) => head.startsWith('BM') && head.charCodeAt(14) >= 12 && head.startsWith('\0\0\0', 15)],
  ['pnm', (head) => /^P[1-7]\s/.test(head)],
  // Readers have always let a PDF begin a little late.
  ['pdf', (head) => head.includes('%PDF-')],
]

/** HEIF and AVIF share a container: its major brand, then its compatible ones, say what is inside. */
function isoBrand(head: string): Format | undefined {
  const brands = [head.slice(8, 12), ...(head.slice(16).match(/[\s\S]{4}/g) ?? [])]
  for (const brand of brands) {
    if (brand === 'avif' || brand === 'avis') return 'avif'
    if (/^(hei[cxms]|hev[cxms])$/.test(brand)) return 'heic'
  }
  return undefined
}

/** Not read, but people send them: an error that names them is worth more. */
const strangers: readonly [string, Matches][] = [
  [
    'SVG or XML, which is never rendered here',
    (head) => /^(\xef\xbb\xbf)?\s*<(\?xml|!doctype svg|svg|!--)/i.test(head),
  ],
  ['a web page', (head) => /^(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body)/i.test(head)],
  ['JPEG XL', begins('\xff\x0a', '\0\0\0\x0cJXL ')],
  ['JPEG 2000', begins('\xff\x4f\xff\x51', '\0\0\0\x0cjP ')],
  ['a Windows icon', begins('\0\0\x01\0', '\0\0\x02\0')],
  ['a Photoshop file', begins('8BPS')],
  ['a video', (head) => head.startsWith('ftyp', 4) || begins('\x1a\x45\xdf\xa3')(head) || head.startsWith('AVI ', 8)],
  ['compressed with gzip', begins('\x1f\x8b')],
  ['a zip archive, or an office document', begins('PK\x03\x04')],
  ['JSON', (head) => /^\s*[[{]/.test(head)],
]
