import type { Format } from '../format.ts'
import type { Size } from './protocol.ts'

/** A file whose header is read. Nothing is decoded before `render`. */
export interface OpenedFile {
  readonly pages: number
  /** What it has several of. */
  readonly noun: 'page' | 'frame'
  /** Pages that are read when a request names none. */
  readonly byDefault: 'first' | 'all'
  /** Oriented pixels that rendering a page makes, counted from 0. */
  size(page: number, longestEdge: number): Promise<Size>
  /** In the order of `pages`. */
  render(pages: readonly number[], longestEdge: number): AsyncIterable<Rendered>
  close(): void
}

/** One page as a picture, `rgb` being `[height, width, 3]`. */
export interface Rendered extends Size {
  readonly page: number
  readonly rgb: Uint8Array
  readonly original: Size
}

/** @throws anything: whatever is no OrielError means that the file is broken */
export type OpenFile = (bytes: Buffer, format: Format) => Promise<OpenedFile>

/** Pixels as a decoder leaves them: 8 bits, gray, gray with alpha, RGB or RGBA. */
export interface Raster extends Size {
  readonly channels: 1 | 2 | 3 | 4
  readonly data: Uint8Array
}

export type RgbaRaster = Raster & { readonly channels: 4 }

/** A file of one picture, for decoders that know no more. */
export function singlePicture<R extends Raster>(
  size: Size,
  decode: () => Promise<R>,
  finish: (raster: R, longestEdge: number) => Promise<Size & { rgb: Uint8Array }>,
): OpenedFile {
  return {
    pages: 1,
    noun: 'page',
    byDefault: 'first',
    size: async () => size,
    async *render(_, longestEdge) {
      yield { ...(await finish(await decode(), longestEdge)), page: 0, original: size }
    },
    close() {},
  }
}
