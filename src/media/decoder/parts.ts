import { createHash } from 'node:crypto'
import type { FileHead, FileHeader, ImageHead, PartHead, Size, SoundHead } from './protocol.ts'

/** A file whose header has been read. */
export interface Opened<Parts extends Part | FileOut = Part> {
  readonly header: FileHeader
  /** Decodes it. @throws OrielError, or any other error if the file is damaged */
  parts(): AsyncIterable<Parts>
  close(): void
}

/** A file for another program. */
export type FileOut = Part<FileHead>

export interface Part<Head extends PartHead | FileHead = PartHead> {
  readonly head: Head
  readonly data: Uint8Array
}

type Pixels = Size & { readonly rgb: Uint8Array; readonly original: Size }

export const partOfImage = ({ width, height, rgb, original }: Pixels, page: number, time: number): Part<ImageHead> => ({
  head: { kind: 'image', width, height, hash: hashOf(`${width}x${height}x3:`, rgb), original, page, time },
  data: rgb,
})

export function partOfSound(samples: Float32Array): Part<SoundHead> {
  const data = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength)
  return { head: { kind: 'sound', hash: hashOf('sound:', data), samples: samples.length }, data }
}

/**
 * Covers the size too, because the same pixels in another shape are another image. The hash is cryptographic because
 * users share what is cached under it: with a faster hash such as xxh3, a user could construct two images that collide.
 * It takes 3 ms for the largest image that is sent, a small part of decoding it.
 */
const hashOf = (shape: string, data: Uint8Array): string =>
  createHash('sha256').update(shape).update(data).digest('base64url')

/** Base64 is made here, where nobody waits for it. */
export const partOfFile = (format: string, bytes: Buffer): FileOut => ({
  head: { kind: 'file', format },
  data: Buffer.from(bytes.toString('base64'), 'latin1'),
})
