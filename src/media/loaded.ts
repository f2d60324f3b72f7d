import type { LoadedAudio, LoadedImages, LoadedVideo } from './attachment.ts'
import type { FileHeader } from './decoder/protocol.ts'
import { FileImage, type FilePart, FileSound } from './file-parts.ts'

type OfFile = 'bytes' | 'from' | 'fetchMs' | 'decodeMs'

/** A file as its parts. */
export function loadedFrom(
  header: FileHeader,
  parts: readonly FilePart[],
): Omit<LoadedImages, OfFile> | Omit<LoadedVideo, OfFile> | Omit<LoadedAudio, OfFile> {
  const images = parts.filter((part) => part instanceof FileImage)
  const sound = parts.find((part) => part instanceof FileSound) ?? null
  if (header.kind === 'image') return { kind: 'image', images, format: header.format, pagesInFile: header.pages }
  const { kind, format, seconds } = header
  if (kind === 'video') return { kind, frames: images, seconds, sound, format }
  if (sound === null) throw new Error('the decoder sent no samples')
  return { kind, sound, format }
}
