import { badModel } from '../../errors.ts'
import type { Metadata } from '../../gguf/index.ts'
import type { Tile } from '../image-architecture.ts'
import type { Raster } from './resize.ts'

/** Turns pixels into the input of an encoder. */
export interface PatchReader {
  /** The edge of a patch, in pixels. */
  readonly patch: number
  /** The encoder's value for each byte of red, of green and of blue. */
  readonly normalized: readonly Float32Array[]
  /**
   * The patches of a tile, row by row, each with all of red, then green, then blue: `[patches, 3 * patch * patch]`, or
   * pixel by pixel. A
   * remainder at the right and at the bottom that is narrower than a patch is not read.
   * @param scaled the result of the architecture's `scale`
   */
  read(scaled: readonly Raster[], tile: Tile): Float32Array
}

/** Differences between readers that files do not record. */
interface ReaderKind {
  /** The edge of a patch, in pixels. By default the file's. */
  edge?: number
  /** Whether the numbers of a patch are ordered pixel by pixel, instead of colour by colour. */
  byPixel?: boolean
  /** The input of the encoder from a normalized value. */
  from?: (value: number) => number
}

/**
 * Reads with the patch size, mean and standard deviation of the vision file.
 * @throws OrielError `invalid` if they are not valid
 */
export function patchReader(
  metadata: Metadata,
  { edge, byPixel = false, from = (value) => value }: ReaderKind = {},
): PatchReader {
  const patch = edge ?? metadata.number('clip.vision.patch_size')
  if (patch < 1) throw badModel(`The vision file has a patch size of ${patch} pixels.`)
  const mean = metadata.numbers('clip.vision.image_mean')
  const deviation = metadata.numbers('clip.vision.image_std')
  if (mean.length < 3 || deviation.length < 3)
    throw badModel("The vision file's image_mean and image_std must have a number for each colour.")
  // llama.cpp rounds to 32 bits after every operation. A table serves, since a byte has few values.
  const f = Math.fround
  const values = [0, 1, 2].map((channel) =>
    Float32Array.from({ length: 256 }, (_, byte) =>
      from(f(f(f(byte / 255) - f(mean[channel] ?? 0)) / f(deviation[channel] ?? 1))),
    ),
  )
  return {
    patch,
    normalized: values,
    read(scaled, { image, x: left, y: top, size }) {
      const raster = scaled[image]
      if (raster === undefined) throw new Error('a tile of an image that was not scaled')
      const { width, rgb } = raster
      const whole = (edge: number) => edge - (edge % patch)
      const [right, bottom] = [left + whole(size.width), top + whole(size.height)]
      const out = new Float32Array(whole(size.width) * whole(size.height) * 3)
      const [step, plane] = byPixel ? [3, 1] : [1, patch * patch]
      let at = 0
      for (let row = top; row < bottom; row += patch)
        for (let column = left; column < right; column += patch, at += 3 * patch * patch)
          values.forEach((of, channel) => {
            let to = at + channel * plane
            for (let y = row; y < row + patch; y++) {
              const from = (y * width + column) * 3 + channel
              for (let x = 0; x < patch; x++, to += step) out[to] = of[rgb[from + x * 3] as number] as number
            }
          })
      return out
    },
  }
}
