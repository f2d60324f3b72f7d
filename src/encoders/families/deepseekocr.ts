import { type GraphBuilder, type Grid, linear } from '../graph/builder.ts'
import { bicubicBetween } from '../graph/positions.ts'
import { sam, samDivides } from '../graph/sam.ts'
import { quickGelu, transformer } from '../graph/transformer.ts'
import type { ImageFamily, Tile } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { gridOf } from '../preprocess/sizes.ts'
import { squareTile } from '../preprocess/tiling.ts'
import { deepseekPatch, deepseekTiles, overviewEdge } from './parts/deepseek.ts'

const tileEdge = 640

/** Embeddings along an edge of so many pixels. */
const along = (edge: number): number => edge / deepseekPatch / samDivides

/**
 * DeepSeek-OCR: the encoder of Segment Anything reads each tile, and CLIP what it makes of it; the rows of both side by side
 * are projected. The decoder reads the tiles of a row line by line, with a learned break after each line, and a learned
 * embedding after the overview. After llama.cpp's tools/mtmd (models/deepseekocr.cpp).
 */
export const deepseekocr: ImageFamily = {
  types: ['deepseekocr'],
  coordinates: 999,
  width: (metadata) => metadata.needTensor('mm.model.fc.weight').rows,

  open(metadata, width) {
    const eye = sam(metadata, overviewEdge / deepseekPatch)
    // Constants of llama.cpp, which may differ from what the file says.
    const tower = transformer(metadata, { epsilon: 1e-5, activation: quickGelu })
    const reader = patchReader(metadata, { edge: deepseekPatch })
    const [lines, overviewLines] = [along(tileEdge), along(overviewEdge)]
    const part = squareTile(tileEdge, lines * lines)

    return {
      ...deepseekTiles(metadata, reader, {
        ...{ edge: tileEdge, most: 9, tokens: overviewLines * (overviewLines + 1) + 1 },
        tiles: ({ width: columns, height: rows }) =>
          Array.from({ length: rows }, (_, row) => ({
            ...{ image: 1, x: 0, y: row * tileEdge, size: { width: columns * tileEdge, height: tileEdge } },
            parts: Array.from({ length: columns }, (_, column) => part(1, row, column)),
            tokens: (lines * columns + 1) * lines,
          })),
      }),

      build<N>(graph: GraphBuilder<N>, { size }: Tile): N {
        const grid = gridOf(size, deepseekPatch)
        const seen = eye.build(graph, graph.input(grid.rows * grid.columns, 3 * deepseekPatch ** 2), grid)
        const rows = graph.concatRows(graph.weight('v.class_embd'), seen)
        const learned = graph.floats('v.position_embd.weight')
        const positions = graph.table('places of squares', tower.width, (of) => placesOf(learned, tower.width, of))
        const thought = tower.all(graph, graph.add(rows, positions))
        const withoutClass = graph.takeRows(thought, 'all but the class', (of) =>
          Int32Array.from({ length: squaresOf(of) }, (_, row) => row + 1),
        )
        return linear(graph, graph.concatColumns(withoutClass, seen), 'mm.model.fc')
      },

      finisher(weights) {
        const pause = weights.floats('v.image_newline')
        const end = weights.floats('v.view_seperator')
        return (embeddings, { image, tokens, parts = [] }) => {
          const out = new Float32Array(tokens * width)
          const [edge, columns] = image === 0 ? [overviewLines, 1] : [lines, parts.length]
          let to = 0
          const put = (values: Float32Array) => {
            out.set(values, to)
            to += values.length
          }
          for (let line = 0; line < edge; line++) {
            for (let column = 0; column < columns; column++) {
              const from = (column * edge + line) * edge * width
              put(embeddings.subarray(from, from + edge * width))
            }
            put(pause)
          }
          if (image === 0) put(end)
          return out
        }
      },
    }
  },
}

const squaresOf = ({ rows, columns }: Grid): number => (rows * columns) / samDivides ** 2

/**
 * The learned positions, of which the first is the class's. If a tile has another number of squares than were learned,
 * llama.cpp resizes the numbers as if they were an image of positions and channels, repeats them over all rows, and reads the
 * last row from a place that it counts in bytes, not rows. It is done here too, for the same answers.
 */
function placesOf(learned: Float32Array, width: number, grid: Grid): Float32Array {
  const squares = squaresOf(grid)
  const known = learned.length / width - 1
  if (squares === known) return learned
  const side = Math.sqrt(squares)
  const [across, down] = [bicubicBetween(width, side), bicubicBetween(known, side)]
  const small = new Float32Array(squares)
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++)
      for (const { index: row, weight } of down[y] ?? [])
        for (const { index: column, weight: share } of across[x] ?? [])
          small[y * side + x] =
            (small[y * side + x] as number) + (learned[row * width + column] as number) * weight * share
  const out = new Float32Array((squares + 1) * width)
  for (let at = 0; at < squares * width; at++) out[at] = small[at % squares] as number
  const last = known / Float32Array.BYTES_PER_ELEMENT
  out.set(learned.subarray(last, last + width), squares * width)
  return out
}
