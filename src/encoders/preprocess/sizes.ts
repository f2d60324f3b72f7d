import type { Metadata } from '../../gguf/index.ts'
import { joinFloats } from '../../join-floats.ts'
import type { Grid } from '../graph/builder.ts'
import {
  type Detail,
  type ImageBounds,
  type ImagePipeline,
  type ImagePlan,
  isBound,
  type Tile,
  tilesOf,
} from '../image-architecture.ts'
import type { PatchReader } from './patches.ts'
import { alignedSize, bicubic, type Raster, resizeInto, type Size } from './resize.ts'

/** The maximum number of tokens of an image that is read in its own aspect, at `detail: auto`. */
const autoTokens = 256
/** The same at `detail: low`: 64 tokens, or a quarter of each edge if that is less. */
const lowTokens = 64
const lowShare = 1 / 16

/** The same at `detail: auto` for models that read pages, whose letters 256 tokens do not show. */
export const pageTokens = 1024

/** The fewest and the most tokens of an image. */
export interface Limits {
  least: number
  most: number
}

/** How a family differs from most that read an image in its own aspect. */
export interface Ways {
  /** The maximum number of tokens at `detail: auto`. */
  auto?: number
  /** The size that is rounded to whole squares, and limited to so many; by default the image's own. */
  natural?(original: Size, most: number): Size
  /** By default bicubic, with the aspect kept and the sides padded. */
  scale?(image: Raster, size: Size): Raster
  /** Frames of a video that a tile spans. By default 1. */
  framesPerTile?: number
}

/** The limits of the file. @param edge of a square that becomes one token, in pixels. @param fallback those that it does not say */
export function limitsIn(metadata: Metadata, edge: number, fallback?: Limits): Limits {
  const tokens = (key: string, of?: number) => metadata.number(`clip.vision.${key}`, of && of * edge ** 2) / edge ** 2
  return { least: tokens('image_min_pixels', fallback?.least), most: tokens('image_max_pixels', fallback?.most) }
}

/**
 * The pipeline outside of the graph for encoders that read an image in its own aspect, as one tile. At `high` the size is
 * that of llama.cpp's `mtmd_image_preprocessor_dyn_size`.
 * @param factor patches along the edge of a square that becomes one token
 * @param limits of llama.cpp for the family
 * @param layout what stands in the prompt for a tile of as many squares
 */
export function inOwnAspect(
  { patch, read }: PatchReader,
  factor: number,
  { least, most }: Limits,
  layout: (tile: Omit<Tile, 'tokens'>, squares: Grid) => ImagePlan['layout'],
  { auto = autoTokens, natural = (original) => original, scale, framesPerTile = 1 }: Ways = {},
): Omit<ImagePipeline, 'build'> {
  const edge = patch * factor
  const tokens = {
    low: Math.max(least, Math.min(lowTokens, most * lowShare)),
    auto: Math.min(most, Math.max(least, auto)),
    high: most,
  }
  /** As Qwen's `min_pixels` and `max_pixels`, in squares. */
  const limitsOf = (detail: Detail, { leastPixels = 0, mostPixels, mostTokens }: ImageBounds): Limits => {
    const squares = Math.max(1, (mostPixels ?? Number.POSITIVE_INFINITY) / edge ** 2)
    const upTo = Math.min(tokens[detail], squares, mostTokens ?? Number.POSITIVE_INFINITY)
    const from = mostPixels === undefined ? least : Math.min(least, squares)
    return { least: Math.min(upTo, Math.max(from, leastPixels / edge ** 2)), most: upTo }
  }
  return {
    longestEdge: Math.ceil(Math.sqrt(most) * edge * 4),
    framesPerTile,
    plan(original, detail, bounds = {}) {
      const limits = isBound(bounds) ? limitsOf(detail, bounds) : { least, most: tokens[detail] }
      const aligned = alignedSize(
        natural(original, limits.most),
        edge,
        limits.least * edge ** 2,
        limits.most * edge ** 2,
      )
      const size = detail === 'high' && !isBound(bounds) ? aligned : within(aligned, edge, limits.most)
      const frames = bounds.frame ? framesPerTile : 1
      const name = `${size.width}x${size.height}${frames === 1 ? '' : ` of ${frames} frames`}`
      const tile = { image: 0, x: 0, y: 0, size, ...(frames > 1 && { frames }) }
      return { original, detail, name, layout: layout(tile, gridOf(size, edge)) }
    },
    scale: (image, plan) =>
      tilesOf(plan).map(({ size }) => (scale === undefined ? resizeInto(image, size, bicubic) : scale(image, size))),
    prepare(scaled, tile) {
      if (tile.frames === undefined) return read(scaled, tile)
      const { frames, image } = tile
      return joinFloats(
        Array.from({ length: frames }, (_, frame) =>
          read(scaled, { ...tile, image: Math.min(image + frame, scaled.length - 1) }),
        ),
      )
    },
    grid: ({ size, frames }) => ({ ...gridOf(size, patch), ...(frames !== undefined && { frames }) }),
  }
}

/** @param edge of the squares that the grid counts, in pixels */
export const gridOf = ({ width, height }: Size, edge: number): Grid => ({ rows: height / edge, columns: width / edge })

/** Limits a size to `squares`: llama.cpp's `alignedSize` lengthens very narrow images. */
export function within({ width, height }: Size, edge: number, squares: number): Size {
  const most = (other: number) => Math.max(1, Math.floor(squares / (other / edge))) * edge
  return width >= height
    ? { width: Math.min(width, most(height)), height }
    : { width, height: Math.min(height, most(width)) }
}
