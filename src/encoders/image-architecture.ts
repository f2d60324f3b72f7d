import type { Coordinates } from '../coordinates.ts'
import type { Metadata } from '../gguf/index.ts'
import type { GraphBuilder, Grid } from './graph/builder.ts'
import type { Raster, Size } from './preprocess/resize.ts'

export type Detail = 'low' | 'high' | 'auto'

/** What a request allows for an image, beside `detail`. */
export interface ImageBounds {
  /** Whether it is a frame of a video, which is not cut into tiles, or as many frames as `framesPerTile` says. */
  readonly frame?: boolean | undefined
  /** Pixels that the model sees at least. Only families that read an image in its own aspect enlarge it. */
  readonly leastPixels?: number | undefined
  readonly mostPixels?: number | undefined
  /** Tokens in the prompt, with the marks around the image. */
  readonly mostTokens?: number | undefined
}

/** How an image is read. It follows from the image's size alone, so it is known before the image is decoded. */
export interface ImagePlan {
  /** The size that was planned for, in pixels: the image's own, or less if a request bounds what the model sees. */
  readonly original: Size
  readonly detail: Detail
  /** Distinguishes this plan from all other plans of the architecture. */
  readonly name: string
  /** What stands in the prompt for the image: text with control tokens (marks), and tiles. */
  readonly layout: readonly (string | Tile)[]
}

export interface Area extends Size {
  readonly x: number
  readonly y: number
}

/** A part of a scaled image that is encoded by itself; the whole image for architectures without tiles. */
export interface Tile {
  /** The index of the scaled image that the tile is cut from, in the result of `scale`. */
  readonly image: number
  readonly x: number
  readonly y: number
  readonly size: Size
  /** Parts that are encoded one by one, whose embeddings `finisher` joins. Without them the tile is encoded as a whole. */
  readonly parts?: readonly Tile[]
  /** Of the embeddings of the parts side by side, in columns and rows: those that show the image and not its padding. */
  readonly shown?: Area
  /** How many images it spans: `scaled[image]` and those behind it. The last is repeated if there are fewer. By default 1. */
  readonly frames?: number
  /** Embeddings of the tile, which is also the number of its positions in the prompt. */
  readonly tokens: number
  /** Rows and columns of the embeddings, for decoders with grid positions (M-RoPE). Without it they have positions like text. */
  readonly places?: Grid
  /**
   * XD-RoPE: the places are those between the first embedding and the last, counted from 0 in each image and beside the
   * image's number in the prompt. The decoder's time goes on from embedding to embedding.
   */
  readonly xd?: true
}

/** The way from the pixels of an image to embeddings, described once for every emitter. */
export interface ImagePipeline {
  /** The longest edge, in pixels, that any plan uses. A larger image may be shrunk to it before it is planned. */
  readonly longestEdge: number
  /**
   * Embeddings of a tile, if the decoder must read all of them in one batch with attention in both directions, as Gemma 3
   * was trained. Without it the decoder reads them like text, each attending to those before it.
   */
  readonly atOnce?: number
  /** Frames of a video that one tile spans. By default 1. `scale` scales them one by one. */
  readonly framesPerTile?: number
  /** Marks of other models with the same vision file, by those of `plan`: they stand where the vocabulary has them. */
  readonly otherMarks?: Readonly<Record<string, string>>
  /** @param bounds for families that can hold to them exactly; `planWithin` is for all */
  plan(original: Size, detail: Detail, bounds?: ImageBounds): ImagePlan
  /**
   * Resamples the image, once for all of its tiles: first the whole, and then, if the plan has more tiles, the finer image
   * that they are cut from.
   */
  scale(image: Raster, plan: ImagePlan): readonly Raster[]
  /** The pixels of a tile as the graph's input: `[patches, patchValues]`. @param scaled the result of `scale` */
  prepare(scaled: readonly Raster[], tile: Tile): Float32Array
  grid(tile: Tile): Grid
  /** The encoder's graph, from the values of `prepare` to embeddings: `[rows, width]`. */
  build<N>(graph: GraphBuilder<N>, tile: Tile): N
  /** Inserts rows between the rows of the graph, for models that need it: `[rows, width]` -> `[tile.tokens, width]`. */
  finisher?(weights: FloatSource): (embeddings: Float32Array, tile: Tile) => Float32Array
}

/** An image encoder as its file describes it, without its weights. */
export interface ImageArchitecture extends ImagePipeline {
  /** The family's name in the file, `clip.projector_type`. */
  readonly name: string
  /** Numbers in one embedding. */
  readonly width: number
  readonly framesPerTile: number
}

/** A family of image encoders. Its file in `families/` holds everything that is particular to the family. */
export interface ImageFamily {
  /** Its names in `clip.projector_type`. */
  readonly types: readonly string[]
  /** How its models write boxes and points. Without it no form of theirs is known. */
  readonly coordinates?: Coordinates
  /**
   * Numbers in one embedding, including the parts for the decoder's deepstack layers. It is read from the last tensor:
   * `projection_dim` of files from 2023 and 2024 is often that of CLIP.
   * @throws OrielError `invalid` if the file has no such tensor
   */
  width(metadata: Metadata): number
  /**
   * @param width of one embedding
   * @throws OrielError `invalid` if the metadata is incomplete or of an unsupported version
   */
  open(metadata: Metadata, width: number): ImagePipeline
}

/** Weights as floats, for rows that are inserted outside of the graph. */
export interface FloatSource {
  /** @throws OrielError `invalid` if the file has no such weight */
  floats(name: string): Float32Array
}

/** Whether the bounds say what an image may cost. */
export const isBound = ({ leastPixels, mostPixels, mostTokens }: ImageBounds): boolean =>
  leastPixels !== undefined || mostPixels !== undefined || mostTokens !== undefined

export const tilesOf = ({ layout }: ImagePlan): Tile[] =>
  layout.filter((part): part is Tile => typeof part !== 'string')

/** The size of the finest image that the tiles of a plan are cut from, as `scale` makes it. */
export function seenSize(tiles: readonly Tile[]): Size {
  const finest = Math.max(...tiles.map(({ image }) => image))
  const own = tiles.filter(({ image }) => image === finest)
  return {
    width: Math.max(...own.map(({ x, size }) => x + size.width)),
    height: Math.max(...own.map(({ y, size }) => y + size.height)),
  }
}

/**
 * Tokens of an image in the prompt, as `usage` counts them: the embeddings of its tiles, and the marks around them if the
 * vocabulary has a token for each, as those of the families' models have.
 */
export const tokensOf = ({ layout }: ImagePlan): number =>
  layout.reduce((sum, part) => sum + (typeof part === 'string' ? (part.match(mark) ?? []).length : part.tokens), 0)

/** `<image>`, `[IMG_END]`, or the line breaks between rows, which are one token together. */
const mark = /<[^>]+>|\[[^\]]+\]|\n+/g
