import type { AttachmentKind } from '../attachments.ts'

/** Formats of images that can be decoded, by the names that messages use. */
export const imageFormats = ['png', 'jpeg', 'gif', 'bmp', 'tiff', 'pnm', 'webp', 'avif', 'heic', 'pdf'] as const
/** Formats of videos and audio. Which of their codecs can be decoded depends on what is installed. */
export const recordingFormats = [
  ...(['mp4', 'mov', 'mkv', 'webm', 'avi', 'mpegts', 'm4a', 'ogg', 'mp3', 'flac', 'wav', 'aac'] as const),
] as const

export type ImageFormat = (typeof imageFormats)[number]
export type RecordingFormat = (typeof recordingFormats)[number]

/** The number of leading bytes that `sniff` looks at. */
export const sniffBytes = 192

/** `looksLike` completes "The data is ...". */
export type Sniffed<Format> = { known: true; format: Format } | { known: false; looksLike: string }

/** Detects an image's format by its first bytes. Media types and file names are not trusted. */
export function sniffImage(bytes: Uint8Array): Sniffed<ImageFormat> {
  const head = headOf(bytes)
  const format = imageFormatOf(head)
  if (format !== undefined) return { known: true, format }
  const recording = recordingFormatOf(head)
  return { known: false, looksLike: recording === undefined ? unsupported(head) : kindOf(recording) }
}

/** The same for a video or audio. */
export function sniffRecording(bytes: Uint8Array): Sniffed<RecordingFormat> {
  const head = headOf(bytes)
  const image = imageFormatOf(head)
  if (image !== undefined) return { known: false, looksLike: `an image, ${image}` }
  const format = recordingFormatOf(head)
  return format === undefined ? { known: false, looksLike: unsupported(head) } : { known: true, format }
}

export const sniff = (kind: AttachmentKind, bytes: Uint8Array): Sniffed<string> =>
  kind === 'image' ? sniffImage(bytes) : sniffRecording(bytes)

const headOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, sniffBytes)).toString('latin1')

const imageFormatOf = (head: string): ImageFormat | undefined =>
  head.startsWith('ftyp', 4) ? isoBrand(head) : signatures.find(([, matches]) => matches(head))?.[0]

const recordingFormatOf = (head: string): RecordingFormat | undefined =>
  recordingSignatures.find(([, matches]) => matches(head))?.[0]

const kindOf = (format: RecordingFormat): string => (audioFormats.has(format) ? 'audio' : 'a video')
const audioFormats: ReadonlySet<RecordingFormat> = new Set(['m4a', 'ogg', 'mp3', 'flac', 'wav', 'aac'])

const unsupported = (head: string): string =>
  unsupportedTypes.find(([, matches]) => matches(head))?.[0] ?? 'in an unknown format'

type Matches = (head: string) => boolean

const begins =
  (...magic: readonly string[]): Matches =>
  (head) =>
    magic.some((bytes) => head.startsWith(bytes))

/** From the specification of each format. */
const signatures: readonly [ImageFormat, Matches][] = [
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

const riff =
  (type: string): Matches =>
  (head) =>
    (head.startsWith('RIFF') || head.startsWith('RF64')) && head.startsWith(type, 8)

/** HEIF and AVIF are of the same family of formats as MP4: the images are recognized before these. */
const recordingSignatures: readonly [RecordingFormat, Matches][] = [
  ['m4a', (head) => /^ftyp(M4A|M4B|M4P) /.test(head.slice(4, 12))],
  ['mov', (head) => head.startsWith('ftypqt  ', 4) || /^(moov|mdat|wide|free|skip|pnot)/.test(head.slice(4, 8))],
  ['mp4', (head) => head.startsWith('ftyp', 4)],
  ['webm', (head) => head.startsWith('\x1a\x45\xdf\xa3') && head.includes('webm')],
  ['mkv', begins('\x1a\x45\xdf\xa3')],
  ['avi', riff('AVI ')],
  ['wav', riff('WAVE')],
  ['mpegts', (head) => head.startsWith('G') && head.startsWith('G', 188)],
  ['ogg', begins('OggS')],
  ['flac', begins('fLaC')],
  // The four bits after the twelve of the sync are version 4 or 2 and layer 0.
  ['aac', (head) => /^\xff[\xf0\xf1\xf8\xf9]/.test(head)],
  ['mp3', (head) => head.startsWith('ID3') || /^\xff[\xe2\xe3\xf2\xf3\xfa\xfb]/.test(head)],
]

/** HEIF and AVIF share a container: the major brand and the compatible brands name the codec. */
function isoBrand(head: string): ImageFormat | undefined {
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
  ['compressed with gzip', begins('\x1f\x8b')],
  ['a zip archive or an office document', begins('PK\x03\x04')],
  ['JSON', (head) => /^\s*[[{]/.test(head)],
]

/** The media type of a file. Some containers have videos and sounds. */
export const mediaTypeOf = (kind: AttachmentKind, format: string): string => `${kind}/${subtypes[format] ?? format}`

const subtypes: Readonly<Record<string, string>> = {
  mov: 'quicktime',
  mkv: 'x-matroska',
  avi: 'x-msvideo',
  mpegts: 'mp2t',
  m4a: 'mp4',
  mp3: 'mpeg',
}
