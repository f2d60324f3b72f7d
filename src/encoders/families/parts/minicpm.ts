import type { Grid } from '../../graph/builder.ts'
import type { Detail, ImagePipeline, ImagePlan, Tile } from '../../image-architecture.ts'
import type { PatchReader } from '../../preprocess/patches.ts'
import { bicubic, resize, resizeInto, type Size } from '../../preprocess/resize.ts'
import { gridOf } from '../../preprocess/sizes.ts'
import { type Slices, slicesOf, withinSquare } from '../../preprocess/slices.ts'
import { autoTiles } from '../../preprocess/tiling.ts'

/** The maximum number of slices, in addition to the overview, by `detail`. */
const mostSlices: Readonly<Record<Detail, number>> = { low: 0, auto: autoTiles, high: 9 }

/** Learned positions along each edge. The patches of a slice are spread over them. */
const buckets = 70

/** How the slices of MiniCPM-V differ from version to version. */
interface SliceKind {
  /** The edge of a square with as many pixels as a slice, in pixels. */
  edge: number
  /** Edges of slices are multiples of so many patches. */
  factor: number
  /** Whether slices are marked as images of their own, as in version 2.5. */
  wrapped: boolean
  /** The size of an image that is not cut. */
  whole(original: Size): Size | null
  tokens(size: Size): number
}

/**
 * MiniCPM-V: an image is cut into slices in its own aspect, preceded by an overview. After llama.cpp's tools/mtmd
 * (`mtmd_image_preprocessor_llava_uhd`, `MTMD_SLICE_TMPL_MINICPMV_2_5` and `_2_6` in mtmd.cpp).
 */
export function minicpmSlices(
  { patch, read }: PatchReader,
  { edge, factor, wrapped, whole, tokens }: SliceKind,
): Omit<ImagePipeline, 'build'> {
  const align = patch * factor
  const tile = (image: number, x: number, y: number, size: Size): Tile => ({ image, x, y, size, tokens: tokens(size) })

  const planned = (original: Size, detail: Detail): { overview: Size; slices: Slices | null } => {
    const uncut = whole(original)
    if (uncut !== null) return { overview: uncut, slices: null }
    const most = mostSlices[detail]
    return {
      overview: withinSquare(original, edge, align, false),
      slices: most === 0 ? null : slicesOf(original, edge, align, most),
    }
  }

  return {
    longestEdge: edge * mostSlices.high,

    plan(original, detail): ImagePlan {
      const { overview, slices } = planned(original, detail)
      const layout: (string | Tile)[] = ['<image>', tile(0, 0, 0, overview), '</image>']
      const name = `${detail} ${overview.width}x${overview.height}`
      if (slices === null) return { original, detail, name, layout }
      const { columns, rows, size } = slices
      const [before, after] = wrapped ? ['<image>', '</image>'] : ['<slice>', '</slice>']
      if (wrapped) layout.push('<slice>')
      for (let row = 0; row < rows; row++) {
        if (row > 0) layout.push('\n')
        for (let column = 0; column < columns; column++)
          layout.push(before, tile(1, column * size.width, row * size.height, size), after)
      }
      if (wrapped) layout.push('</slice>')
      return { original, detail, name: `${name} ${columns}x${rows} of ${size.width}x${size.height}`, layout }
    },

    scale(image, { original, detail }) {
      const { overview, slices } = planned(original, detail)
      const small = resize(image, overview, bicubic)
      if (slices === null) return [small]
      const { columns, rows, size } = slices
      return [small, resizeInto(image, { width: size.width * columns, height: size.height * rows }, bicubic)]
    },

    prepare: read,
    grid: ({ size }) => gridOf(size, patch),
  }
}

/** The learned position of each patch. */
export function bucketsOf({ rows, columns }: Grid): Int32Array {
  const bucket = (at: number, of: number) => Math.floor((buckets * at) / of)
  return Int32Array.from(
    { length: rows * columns },
    (_, patch) => bucket(Math.floor(patch / columns), rows) * buckets + bucket(patch % columns, columns),
  )
}
