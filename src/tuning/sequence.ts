/** One example as the decoder takes it: a sequence of tokens and of rows that an encoder has made. */
export interface Sequence {
  /** `[cells]`: the id of each token, and -1 for a row of an attachment. */
  readonly tokens: Int32Array
  /** `[axes, cells]`: one axis for most models, four for those with M-RoPE. */
  readonly positions: Int32Array
  /** `[cells]`: 1 for the tokens that are learned, each of which the cells before it predict. */
  readonly learned: Uint8Array
  /** What the encoder has made of the attachments, in the order of their cells. */
  readonly spans: readonly EmbeddedSpan[]
}

export interface EmbeddedSpan {
  /** Its first cell. */
  readonly start: number
  /** `[cells, width]`. Wider than the decoder for those whose deepstack layers take parts of it. */
  readonly rows: Float32Array
}

/** Examples on disk. They are never all in memory. */
export interface Sequences {
  /** The cells of each. */
  readonly lengths: Int32Array
  /** The learned tokens of each. */
  readonly learned: Int32Array
  read(index: number): Sequence
  close(): void
}
