import type { GraphBuilder, Grid } from './builder.ts'

/** The halves of a file (mmproj). Its keys are `clip.vision.…` and `clip.audio.…`, its tensors `v.…` and `a.…`. */
export type Modality = 'vision' | 'audio'

/**
 * What a graph is made from.
 * @typeParam Part what is encoded by itself: a tile of an image, a chunk of a sound
 */
export interface GraphSource<Part> {
  /** Any part: sizes are symbolic for ONNX Runtime, so it gives the graph of all. */
  readonly example: Part
  /** Parts of equal sizes have the same graph. */
  sizeOf(part: Part): string
  /** Of the graph's input. */
  grid(part: Part): Grid
  /** From the values of a part to embeddings: `[rows, width]`. */
  build<N>(graph: GraphBuilder<N>, part: Part): N
}

/** A part, and the values that its graph gets. */
export interface Sample<Part> {
  readonly values: Float32Array
  readonly part: Part
}

/** One half of a file, with what it takes to load and to calibrate its encoder. */
export interface Half<Part> extends GraphSource<Part> {
  readonly modality: Modality
  /** What a calibration measures with, made here so that every machine has the same. @param seed another gives another sample */
  sample(seed: number): Sample<Part>
}
