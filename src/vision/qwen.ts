import { type Architecture, type PicturePlan, type Tile, tilesOf } from './architecture.ts'
import { type GraphBuilder, type Grid, linear, type Rope2d } from './graph.ts'
import type { Metadata } from './metadata.ts'
import { patchReader } from './patches.ts'
import { bicubic, resizeInto } from './resize.ts'
import { pixelBudget } from './sizes.ts'
import type { Transformer } from './transformer.ts'

/** What Qwen-VL's encoders of all generations have in common. */
interface QwenPictures {
  /** Patches along the edge of a square that becomes one embedding. */
  readonly factor: number
  /** Turns heads by the rows and columns of the patches, which come square by square. */
  readonly rope: Rope2d
  /** What becomes of pictures outside of the graph. */
  readonly outside: Pick<Architecture, 'longestEdge' | 'plan' | 'scale' | 'prepare' | 'grid' | 'finisher'>
  /** The patches of a tile, square by square: `[patches, width]` */
  patches<N>(graph: GraphBuilder<N>, tile: Tile): N
  /** Rows that come row by row, square by square. */
  inSquares<N>(graph: GraphBuilder<N>, x: N): N
  /** The rows of each square in one: `[patches, width]` -> `[tokens, width * factor²]` */
  joined<N>(graph: GraphBuilder<N>, x: N): N
  /** What the projector's two matrices make of each row. */
  projected<N>(graph: GraphBuilder<N>, x: N, names?: readonly [string, string]): N
}

/**
 * Qwen-VL reads a picture in its own shape, between 8 and 4096 tokens of it, and tells the decoder rows and columns. After
 * llama.cpp's tools/mtmd (models/qwen2vl.cpp, `mtmd_image_preprocessor_dyn_size`).
 */
export function qwenPictures(metadata: Metadata): QwenPictures {
  const reader = patchReader(metadata)
  const { patch } = reader
  const factor = metadata.number('clip.vision.spatial_merge_size', 2)
  const edge = patch * factor
  const budget = pixelBudget(edge, 8, 4096)
  const grid = ({ size }: Tile): Grid => ({ rows: size.height / patch, columns: size.width / patch })
  const order = (of: Grid) => squareOrder(of, factor)

  return {
    factor,

    rope: {
      theta: 10000,
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

    outside: {
      longestEdge: budget.longestEdge,
      plan(original, detail): PicturePlan {
        const size = budget.size(original, detail)
        const places = { rows: size.height / edge, columns: size.width / edge }
        const tile: Tile = { image: 0, x: 0, y: 0, size, tokens: places.rows * places.columns, places }
        const name = `${size.width}x${size.height}`
        return { original, detail, name, layout: ['<|vision_start|>', tile, '<|vision_end|>'] }
      },
      scale: (picture, plan) => tilesOf(plan).map(({ size }) => resizeInto(picture, size, bicubic)),
      prepare: (scaled, tile) => reader.read(scaled, tile),
      grid,
      finisher: () => (embeddings) => embeddings,
    },

    patches(graph, tile) {
      const { rows, columns } = grid(tile)
      const pixels = graph.takeRows(graph.input(rows * columns, 3 * patch * patch), 'squares', order)
      // The convolution spans two frames of a film, and a picture is both of them.
      const product = (name: string) => graph.matmul(graph.weight(name), pixels)
      const both = graph.add(product('v.patch_embd.weight'), product('v.patch_embd.weight.1'))
      return graph.has('v.patch_embd.bias') ? graph.add(both, graph.weight('v.patch_embd.bias')) : both
    },

    inSquares: (graph, x) => graph.takeRows(x, 'squares', order),

    joined: (graph, x) => graph.joinRows(x, factor * factor),

    projected: (graph, x, [up, down] = ['mm.0', 'mm.2']) => linear(graph, graph.gelu(linear(graph, x, up)), down),
  }
}

/** An encoder whose projector is all that follows its tower. @param name as `clip.projector_type` of the GGUF has it */
export const qwenEncoder = (
  name: string,
  metadata: Metadata,
  pictures: QwenPictures,
  tower: Transformer,
): Architecture => ({
  name,
  width: metadata.tensor('mm.2.weight')?.rows ?? 0,
  ...pictures.outside,
  build(graph, tile) {
    const seen = tower.all(graph, pictures.patches(graph, tile))
    return pictures.projected(graph, pictures.joined(graph, seen))
  },
})

/** Patches square by square, and in each row by row. */
function squareOrder({ rows, columns }: Grid, factor: number): Int32Array {
  const order = new Int32Array(rows * columns)
  let at = 0
  for (let row = 0; row < rows; row += factor)
    for (let column = 0; column < columns; column += factor)
      for (let y = row; y < row + factor; y++)
        for (let x = column; x < column + factor; x++) order[at++] = y * columns + x
  return order
}
