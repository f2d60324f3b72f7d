import type { Detail } from './architecture.ts'
import { alignedSize, type Size } from './resize.ts'

/** What `detail: auto` spends at most on a picture that is read in its own shape, in tokens. */
const autoTokens = 256
/** What `detail: low` is content with: so many tokens, or less of a family that never has many: a quarter of each edge. */
const lowTokens = 64
const lowShare = 1 / 16

/** Sizes to which pictures are brought that an architecture reads in their own shape. */
export interface PixelBudget {
  readonly longestEdge: number
  /** In whole squares. `high` is what llama.cpp makes of it. */
  size(original: Size, detail: Detail): Size
}

/** @param edge pixels of the square that becomes one token. @param least, most tokens that llama.cpp allows the family */
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

/** llama.cpp's `alignedSize` makes very narrow pictures longer than they were. They are cut down to so many squares. */
export function within({ width, height }: Size, edge: number, squares: number): Size {
  const most = (other: number) => Math.max(1, Math.floor(squares / (other / edge))) * edge
  return width >= height
    ? { width: Math.min(width, most(height)), height }
    : { width, height: Math.min(height, most(width)) }
}
