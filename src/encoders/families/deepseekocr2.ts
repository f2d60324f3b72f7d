import { type GraphBuilder, type Grid, linear, type Mask, type Rope2d } from '../graph/builder.ts'
import { sam, samDivides } from '../graph/sam.ts'
import { silu, transformer } from '../graph/transformer.ts'
import type { ImageFamily, Tile } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { gridOf } from '../preprocess/sizes.ts'
import { squareTile } from '../preprocess/tiling.ts'
import { deepseekPatch, deepseekTiles, overviewEdge } from './parts/deepseek.ts'

const tileEdge = 768

/** Embeddings of a square of so many pixels. */
const squares = (edge: number): number => (edge / deepseekPatch / samDivides) ** 2
const squaresOf = ({ rows, columns }: Grid): number => (rows * columns) / samDivides ** 2

/** One position for the whole head: of what SAM made of the tile, and then of the queries. */
const rope: Rope2d = {
  ...{ base: 1e6, interleaved: false, pairs: 'halves', whole: true },
  positions(grid) {
    const places = Int32Array.from({ length: 2 * squaresOf(grid) }, (_, at) => at)
    return { first: places, second: places }
  },
}

/** What SAM made attends to itself, and a query to that and to the queries before it. */
const mask: Mask = {
  length: (grid) => 2 * squaresOf(grid),
  of(grid) {
    const seen = squaresOf(grid)
    const length = 2 * seen
    const hidden = (row: number, column: number) => column >= seen && (row < seen || column > row)
    return Float32Array.from({ length: length * length }, (_, at) =>
      hidden(Math.floor(at / length), at % length) ? -1e9 : 0,
    )
  },
}

/**
 * DeepSeek-OCR 2: the encoder of Segment Anything reads each tile, and the layers of a Qwen2 decoder read that together with
 * learned queries, whose rows are projected. A learned embedding follows the overview. After llama.cpp's tools/mtmd
 * (models/deepseekocr2.cpp).
 */
export const deepseekocr2: ImageFamily = {
  types: ['deepseekocr2'],
  coordinates: 999,
  width: (metadata) => metadata.needTensor('mm.model.fc.weight').rows,

  open(metadata, width) {
    const eye = sam(metadata, overviewEdge / deepseekPatch)
    const tower = transformer(metadata, { norm: 'rms', activation: silu, rope, mask })
    const reader = patchReader(metadata, { edge: deepseekPatch })
    const tile = squareTile(tileEdge, squares(tileEdge))

    return {
      ...deepseekTiles(metadata, reader, {
        ...{ edge: tileEdge, most: 6, tokens: squares(overviewEdge) + 1 },
        tiles: ({ width: columns, height: rows }) =>
          Array.from({ length: rows * columns }, (_, at) => tile(1, Math.floor(at / columns), at % columns)),
      }),

      build<N>(graph: GraphBuilder<N>, { size }: Tile): N {
        const grid = gridOf(size, deepseekPatch)
        const seen = eye.build(graph, graph.input(grid.rows * grid.columns, 3 * deepseekPatch ** 2), grid)
        const small = squares(tileEdge)
        const both = graph.concatRows(
          graph.weight('v.resample_query_768.weight'),
          graph.weight('v.resample_query_1024.weight'),
        )
        const queries = graph.takeRows(both, 'queries', (of) => {
          const length = squaresOf(of)
          return Int32Array.from({ length }, (_, at) => (length === small ? at : small + at))
        })
        const thought = tower.all(graph, graph.concatRows(seen, queries))
        const answers = graph.takeRows(thought, 'answers', (of) => {
          const length = squaresOf(of)
          return Int32Array.from({ length }, (_, at) => length + at)
        })
        return linear(graph, answers, 'mm.model.fc')
      },

      finisher(weights) {
        const end = weights.floats('v.view_seperator')
        return (embeddings, { image, tokens }) => {
          if (image > 0) return embeddings
          const out = new Float32Array(tokens * width)
          out.set(embeddings)
          out.set(end, embeddings.length)
          return out
        }
      },
    }
  },
}
