/** What a file is, by its first bytes: labels and names are not asked. */
export type Format =
  | 'png'
  | 'jpeg'
  | 'gif'
  | 'tiff'
  | 'webp'
  | 'avif'
  | 'heic'
  | 'bmp'
  | 'pnm'
  | 'svg'
  | 'pdf'
  | 'html'
  | 'unknown'

/** Bytes that `sniff` looks at, at most. */
export const sniffBytes = 64

export function sniff(bytes: Uint8Array): Format {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, sniffBytes))
  const text = head.toString('latin1')
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return 'png'
  if (text.startsWith('\xff\xd8\xff')) return 'jpeg'
  if (/^GIF8[79]a/.test(text)) return 'gif'
  if (/^(II[*+]\0|MM\0[*+])/.test(text)) return 'tiff'
  if (/^RIFF.{4}WEBP/s.test(text)) return 'webp'
  if (text.slice(4, 8) === 'ftyp')
    return /avi[fs]/.test(text) ? 'avif' : /hei[cxms]|hev[cx]|mif1/.test(text) ? 'heic' : 'unknown'
  if (text.startsWith('BM')) return 'bmp'
  if (/^P[1-7]\s/.test(text)) return 'pnm'
  if (text.startsWith('%PDF-')) return 'pdf'
  if (/^(\xef\xbb\xbf)?\s*(<\?xml.*)?<svg/is.test(text) || /^\s*<\?xml/i.test(text)) return 'svg'
  if (/^\s*<(!doctype )?html/i.test(text)) return 'html'
  return 'unknown'
}
