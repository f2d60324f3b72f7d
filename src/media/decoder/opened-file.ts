import type { ImageFormat } from '../format.ts'
import type { Size } from './protocol.ts'

/** A file whose header has been read. Nothing is decoded before `render`. */
export interface OpenedFile {
  readonly pages: number
  /** What the file consists of. */
  readonly noun: 'page' | 'frame'
  /** The pages that are read when a request selects none. */
  readonly byDefault: 'first' | 'all'
  /** The upright size at which a page will be decoded. @param page counted from 0 */
  size(page: number, longestEdge: number): Promise<Size>
  /** Yields one image for each of `pages`, in their order. */
  render(pages: readonly number[], longestEdge: number): AsyncIterable<Rendered>
  /**
   * Whether any program shows it as `render` does: one upright image of 8 bits in grey or RGB, without transparency. It may
   * have to be decoded to know it. Omitted: no.
   */
  isPlain?(): Promise<boolean>
  close(): void
}

/** One page as an image; `rgb` is `[height, width, 3]`. */
export interface Rendered extends Size {
  readonly page: number
  readonly rgb: Uint8Array
  readonly original: Size
}

/** @throws OrielError, or any other error if the file is damaged */
export type OpenFile = (bytes: Buffer, format: ImageFormat) => Promise<OpenedFile>

/** Pixels as a decoder produces them: 8-bit grey, grey with alpha, RGB or RGBA. */
export interface Raster extends Size {
  readonly channels: 1 | 2 | 3 | 4
  readonly data: Uint8Array
}

export type RgbaRaster = Raster & { readonly channels: 4 }

/** A file of a format that contains one image. */
export function singleImage<R extends Raster>(
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
