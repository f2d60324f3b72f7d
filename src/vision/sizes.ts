import type { Detail } from './architecture.ts'

/** What `detail: auto` spends at most on a picture that is read in its own shape, in tokens. */
const autoTokens = 256
/** What `detail: low` is content with: so many tokens, or less of a family that never has many: a quarter of each edge. */
const lowTokens = 64
const lowShare = 1 / 16

/** Areas, in pixels, between which pictures are brought that an architecture reads in their own shape. */
export interface PixelBudget {
  readonly least: number
  readonly longestEdge: number
  /** `high` is what llama.cpp allows. */
  most(detail: Detail): number
}

/** @param edge pixels of the square that becomes one token. @param least, most tokens that llama.cpp allows the family */
export function pixelBudget(edge: number, least: number, most: number): PixelBudget {
  const tokens = {
    low: Math.max(least, Math.min(lowTokens, most * lowShare)),
    auto: Math.min(most, Math.max(least, autoTokens)),
    high: most,
  }
  return {
    least: least * edge ** 2,
    longestEdge: Math.ceil(Math.sqrt(most) * edge * 4),
    most: (detail) => tokens[detail] * edge ** 2,
  }
}
