import { kindOfName } from './file-names.ts'

/** What a request may attach to its text. A model says which of these it accepts. */
export const attachmentKinds = ['image', 'audio', 'video'] as const
export type AttachmentKind = (typeof attachmentKinds)[number]

/** Of the frames of each second of a video: one in almost three hours. Fewer make times that are no numbers. */
export const leastPerSecond = 0.0001

/** What tells the kind of a file before its bytes are read. */
export interface FileHints {
  /** Its media type: `video/mp4`. */
  type?: string | null | undefined
  name?: string | null | undefined
}

/** What a file is, by what is said of it; else by its first bytes, if the URL has them. @param url a URL, or base64 */
export function kindOfFile(url: string, { type, name }: FileHints = {}): AttachmentKind {
  const isRemote = /^https?:/i.test(url)
  const [scheme = '', dataType] = /^data:([^;,]{0,100})[^,]{0,100},/i.exec(url) ?? []
  const [, kind] = /^(audio|video)\//i.exec(type ?? dataType ?? '') ?? []
  if (kind !== undefined) return kind.toLowerCase() === 'audio' ? 'audio' : 'video'
  const named = kindOfName(name ?? (isRemote ? url : ''))
  if (named !== undefined || isRemote) return named ?? 'image'
  return kindOfBytes(Buffer.from(url.slice(scheme.length, scheme.length + base64Characters), 'base64'))
}

/** Bytes that `kindOfBytes` looks at. */
const kindBytes = 12

/** In which they are. */
const base64Characters = Math.ceil(kindBytes / 3) * 4

/** What a file is by its first bytes, where nobody says it. What is no video and no audio counts as an image. */
function kindOfBytes(bytes: Uint8Array): AttachmentKind {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, kindBytes)).toString('latin1')
  const form = head.slice(8, 12)
  if (head.startsWith('RIFF')) return form === 'WAVE' ? 'audio' : form === 'AVI ' ? 'video' : 'image'
  if (head.startsWith('ftyp', 4)) return isoKind(form)
  if (head.startsWith('\x1a\x45\xdf\xa3')) return 'video'
  return /^(OggS|fLaC|ID3|\xff[\xe2-\xe7\xf1-\xff])/.test(head) ? 'audio' : 'image'
}

/** HEIF and AVIF share the container of MP4. */
function isoKind(brand: string): AttachmentKind {
  if (/^(M4A |M4B |F4A )$/.test(brand)) return 'audio'
  return /^(avif|avis|mif1|msf1|hei[cxms]|hev[cxms])$/.test(brand) ? 'image' : 'video'
}
