import type { GraphBuilder, Grid } from './graph.ts'
import type { Raster, Size } from './resize.ts'

export type Detail = 'low' | 'high' | 'auto'

/** What becomes of one picture: known from its size alone, before a pixel is looked at. */
export interface PicturePlan {
  /** The picture's own size. */
  readonly original: Size
  readonly detail: Detail
  /** Tells this plan from all others that the architecture makes. */
  readonly name: string
  /** What stands in the prompt for the picture: text with control tokens, and tiles. */
  readonly layout: readonly (string | Tile)[]
}

/** A part of a scaled picture that is encoded by itself: the whole of it, for architectures without tiles. */
export interface Tile {
  /** Which of `scale`'s pictures it is cut from, and where. */
  readonly image: number
  readonly x: number
  readonly y: number
  readonly size: Size
  /** Embeddings that it becomes, and so its places in the prompt. */
  readonly tokens: number
  /** How they stand, for decoders whose positions have rows and columns; without it in one row. */
  readonly places?: Grid
}

/** One family of vision encoders, described once for every emitter. */
export interface Architecture {
  /** As `clip.projector_type` of the GGUF has it. */
  readonly name: string
  /** Numbers in one embedding. */
  readonly width: number
  /** The longest edge, in pixels, that any plan uses of a picture: a larger picture may be shrunk to it beforehand. */
  readonly longestEdge: number
  /**
   * Embeddings of a tile that the decoder must read all at once, each seeing all others, as Gemma 3 was trained to. By
   * default it reads them like text, each seeing those before it.
   */
  readonly atOnce?: number
  plan(original: Size, detail: Detail): PicturePlan
  /** Everything that is resampled of a picture, once for all of its tiles. */
  scale(picture: Raster, plan: PicturePlan): readonly Raster[]
  /** A tile's pixels -> the graph's input `[patches, patchValues]`. @param scaled what `scale` made */
  prepare(scaled: readonly Raster[], tile: Tile): Float32Array
  /** The patches of a tile. */
  grid(tile: Tile): Grid
  /** The whole encoder, from `prepare`'s values to embeddings `[rows, width]`. */
  build<N>(graph: GraphBuilder<N>, tile: Tile): N
  /** What puts rows between the graph's, if the model wants any: `[rows, width]` -> `[tile.tokens, width]`. */
  finisher(weights: FloatSource): (embeddings: Float32Array, tile: Tile) => Float32Array
}

/** Weights as floats, for what is put between the graph's rows. */
export interface FloatSource {
  /** @throws OrielError `invalid` where the file has no such weight */
  floats(name: string): Float32Array
}

export const tilesOf = ({ layout }: PicturePlan): Tile[] =>
  layout.filter((part): part is Tile => typeof part !== 'string')
