import type { GraphBuilder, Grid } from './graph.ts'
import type { Size } from './resize.ts'

export type Detail = 'low' | 'high' | 'auto'

/** What becomes of one picture: known from its size alone, before a pixel is looked at. */
export interface PicturePlan {
  /** The picture's own size. */
  original: Size
  /** The size it is scaled to. */
  scaled: Size
  /** Embeddings that it becomes, and so its places in the prompt. */
  tokens: number
}

/** One family of vision encoders, described once for every emitter. */
export interface Architecture {
  /** As `clip.projector_type` of the GGUF has it. */
  readonly name: string
  /** Text with control tokens that the model expects before and after each picture. */
  readonly before: string
  readonly after: string
  /** Numbers in one embedding. */
  readonly width: number
  /** The longest edge, in pixels, that any plan uses of a picture: a larger picture may be shrunk to it beforehand. */
  readonly longestEdge: number
  plan(original: Size, detail: Detail): PicturePlan
  /** The patches that the graph works on. */
  grid(plan: PicturePlan): Grid
  /** Pixels -> the graph's input `[patches, patchValues]`. @param rgb `[height, width, 3]` of `plan.original` */
  prepare(rgb: Uint8Array, plan: PicturePlan): Float32Array
  /** The whole encoder, from `prepare`'s values to embeddings `[patches, width]`. */
  build<N>(graph: GraphBuilder<N>, plan: PicturePlan): N
  /** What puts rows between the graph's, if the model wants any: `[patches, width]` -> `[tokens, width]`. */
  finisher(weights: FloatSource): (embeddings: Float32Array, plan: PicturePlan) => Float32Array
}

/** Weights as floats, for what is put between the graph's rows. */
export interface FloatSource {
  /** @throws OrielError `invalid` where the file has no such weight */
  floats(name: string): Float32Array
}
