/**
 * `bench/encoders.ts` and `bench/recordings.ts` widen the small towers: times of the small ones say nothing about real ones. 0: they are small, as the
 * fixtures have them.
 */
const widened = Number(process.env.TOWER_WIDTH ?? 0)

/** The width of every small tower. */
export const towerWidth = widened || 64
/** The width of a head of it, and of its feed-forward part, unless the family has others. */
export const headWidth = widened ? 64 : 32
export const feedForwardWidth = widened ? 4 * widened : 128

/** The standard deviation of numbers: as files for real use have them, or exact. */
export const numbers = (deviation: number): { half: number } | { exact: number } =>
  widened ? { half: deviation } : { exact: deviation }

/** The edge of the square that a tower was trained on, in pixels. Small ones have 16 to 64 patches, which no real one has. */
export const edgeOf = (small: number): number => (widened ? 4 * small : small)

/** A size of an audio encoder: that of the fixtures, or of a real one. */
export const sized = <T>(small: T, real: T): T => (widened ? real : small)

/** The width of an audio encoder, and its heads and layers. */
export const soundWidth = (small: number): number => widened || small
export const headsOf = (width: number): number => (widened ? width / headWidth : 2)
export const soundLayers = sized(2, 4)
