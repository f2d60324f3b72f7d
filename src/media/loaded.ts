import type { Loaded, LoadedAudio, LoadedImages, LoadedVideo } from './attachment.ts'
import type { FileHeader } from './decoder/protocol.ts'
import { FileImage, type FilePart, FileSound } from './file-parts.ts'

/** In ms. That of decoding grows when the file is decoded later. */
interface Times {
  readonly fetchMs: number
  readonly decodeMs: number
}

/**
 * A file as its parts. It lives until the answer ends, and the function that it reads a time with keeps whatever is in scope
 * here: never the bytes of the file.
 */
export function loadedFrom(header: FileHeader, parts: readonly FilePart[], from: Loaded['from'], times: Times): Loaded {
  return {
    ...{ ...mediaOf(header, parts), bytes: header.bytes, from, fetchMs: times.fetchMs },
    get decodeMs() {
      return times.decodeMs
    },
  }
}

type OfFile = 'bytes' | 'from' | 'fetchMs' | 'decodeMs'

function mediaOf(
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
