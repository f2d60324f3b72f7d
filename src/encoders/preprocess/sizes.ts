import type { Detail } from '../image-architecture.ts'
import { alignedSize, type Size } from './resize.ts'

/** The maximum number of tokens of an image that is read in its own aspect, at `detail: auto`. */
const autoTokens = 256
/** The same at `detail: low`: 64 tokens, or a quarter of each edge if that is less. */
const lowTokens = 64
const lowShare = 1 / 16

/** Sizes of images that an architecture reads in their own aspect. */
export interface PixelBudget {
  readonly longestEdge: number
  /** In whole squares. At `high` the size is that of llama.cpp. */
  size(original: Size, detail: Detail): Size
}

/** @param edge of the square that becomes one token, in pixels. @param least, most the family's limits in llama.cpp, in tokens */
export function pixelBudget(edge: number, least: number, most: number): PixelBudget {
  const tokens = {
    low: Math.max(least, Math.min(lowTokens, most * lowShare)),
    auto: Math.min(most, Math.max(least, autoTokens)),
    high: most,
  }
  return {
    longestEdge: Math.ceil(Math.sqrt(most) * edge * 4),
    size(original, detail) {
      const size = alignedSize(original, edge, least * edge ** 2, tokens[detail] * edge ** 2)
      return detail === 'high' ? size : within(size, edge, tokens[detail])
    },
  }
}

/** Limits a size to `squares`: llama.cpp's `alignedSize` lengthens very narrow images. */
export function within({ width, height }: Size, edge: number, squares: number): Size {
  const most = (other: number) => Math.max(1, Math.floor(squares / (other / edge))) * edge
  return width >= height
    ? { width: Math.min(width, most(height)), height }
    : { width, height: Math.min(height, most(width)) }
}
