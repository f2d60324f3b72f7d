import type { Metadata } from '../../../gguf/index.ts'
import { type GraphBuilder, type Grid, linear, type Rope2d, type Windows } from '../../graph/builder.ts'
import type { Transformer } from '../../graph/transformer.ts'
import type { ImagePipeline, Tile } from '../../image-architecture.ts'
import { type PatchReader, patchReader } from '../../preprocess/patches.ts'
import { gridOf, inOwnAspect, type Limits, type Ways } from '../../preprocess/sizes.ts'

/** What the encoders of all generations of Qwen-VL have in common. */
interface QwenImages {
  /** Patches along the edge of a square that becomes one embedding. */
  readonly factor: number
  /** Rotates heads by the rows and columns of the patches, which are ordered square by square. */
  readonly rope: Rope2d
  /** The part of the pipeline outside of the graph. */
  readonly outside: Omit<ImagePipeline, 'build'>
  /** The patches of a tile, square by square: `[patches, width]` */
  patches<N>(graph: GraphBuilder<N>, tile: Tile): N
  /** Reorders rows from row by row to square by square. */
  inSquares<N>(graph: GraphBuilder<N>, x: N): N
  /** The rows of each square in one: `[patches, width]` -> `[tokens, width * factor²]` */
  joined<N>(graph: GraphBuilder<N>, x: N): N
  /** Each row through the two matrices of the projector. */
  projected<N>(graph: GraphBuilder<N>, x: N, names?: readonly [string, string]): N
}

/** Where encoders that are made like Qwen's differ from it. */
interface QwenKind {
  marks?: readonly [string, string]
  limits?: Limits
  reader?: PatchReader
  ways?: Ways
}

/**
 * Qwen-VL reads an image in its own aspect, as 8 to 4096 tokens, and the decoder has their rows and columns as positions
 * (M-RoPE). After llama.cpp's tools/mtmd (models/qwen2vl.cpp, `mtmd_image_preprocessor_dyn_size`).
 */
export function qwenImages(
  metadata: Metadata,
  {
    marks: [before, after] = ['<|vision_start|>', '<|vision_end|>'],
    limits = { least: 8, most: 4096 },
    reader = patchReader(metadata),
    ways,
  }: QwenKind = {},
): QwenImages {
  const { patch } = reader
  const factor = metadata.number('clip.vision.spatial_merge_size', 2)
  const order = (of: Grid) => squareOrder(of, factor)
  /** The same of the last frame. */
  const last = ({ rows, columns, frames = 1 }: Grid) =>
    order({ rows, columns }).map((place) => place + (frames - 1) * rows * columns)

  return {
    factor,

    rope: {
      interleaved: false,
      pairs: 'halves',
      positions(of) {
        const patches = order(of)
        return {
          first: patches.map((place) => Math.floor(place / of.columns)),
          second: patches.map((place) => place % of.columns),
        }
      },
    },

    outside: inOwnAspect(
      reader,
      factor,
      limits,
      (tile, places) => [before, { ...tile, tokens: places.rows * places.columns, places }, after],
      ways,
    ),

    patches(graph, { size, frames = 1 }) {
      const { rows, columns } = gridOf(size, patch)
      const pixels = graph.input(rows * columns * frames, 3 * patch * patch)
      const first = graph.takeRows(pixels, 'squares', order)
      // The convolution spans two frames of a video; an image is both of them.
      const second = ways?.framesPerTile === 2 ? graph.takeRows(pixels, 'squares of the second frame', last) : first
      const product = (name: string, x: typeof pixels) => graph.matmul(graph.weight(name), x)
      const both = graph.add(product('v.patch_embd.weight', first), product('v.patch_embd.weight.1', second))
      return graph.has('v.patch_embd.bias') ? graph.add(both, graph.weight('v.patch_embd.bias')) : both
    },

    inSquares: (graph, x) => graph.takeRows(x, 'squares', order),

    joined: (graph, x) => graph.joinRows(x, factor * factor),

    projected: (graph, x, [up, down] = ['mm.0', 'mm.2']) => linear(graph, graph.gelu(linear(graph, x, up)), down),
  }
}

export const qwenWidth = (metadata: Metadata): number => metadata.needTensor('mm.2.bias').columns

/** A pipeline whose tower is followed by nothing but the projector. */
export const qwenPipeline = (images: QwenImages, tower: Transformer): ImagePipeline => ({
  ...images.outside,
  build: (graph, tile) => images.projected(graph, images.joined(graph, tower.all(graph, images.patches(graph, tile)))),
})

/** Patches square by square, and row by row in each. */
function squareOrder({ rows, columns }: Grid, factor: number): Int32Array {
  const order = new Int32Array(rows * columns)
  let at = 0
  for (let row = 0; row < rows; row += factor)
    for (let column = 0; column < columns; column += factor)
      for (let y = row; y < row + factor; y++)
        for (let x = column; x < column + factor; x++) order[at++] = y * columns + x
  return order
}

/**
 * Windows of whole squares, which are narrower at the right and at the bottom.
 * @param edge of a window, in pixels. @param square edge of a square, in pixels. @param factor patches along it
 */
export function qwenWindows(edge: number, square: number, factor: number): Windows {
  const across = Math.floor(edge / square)
  return {
    size: (across * factor) ** 2,
    rows: (grid) => windowRows({ rows: grid.rows / factor, columns: grid.columns / factor }, across, factor * factor),
  }
}

/**
 * The rows of each window.
 * @param squares of the image. @param across squares along a window's edge. @param patches rows of a square
 */
function windowRows(squares: Grid, across: number, patches: number): readonly number[][] {
  const windows: number[][] = []
  for (let top = 0; top < squares.rows; top += across)
    for (let left = 0; left < squares.columns; left += across) {
      const window: number[] = []
      for (let row = top; row < Math.min(top + across, squares.rows); row++)
        for (let column = left; column < Math.min(left + across, squares.columns); column++)
          for (let patch = 0; patch < patches; patch++) window.push((row * squares.columns + column) * patches + patch)
      windows.push(window)
    }
  return windows
}
