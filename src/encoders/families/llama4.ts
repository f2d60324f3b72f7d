import { linear, type Rope2d } from '../graph/builder.ts'
import { ropeByColumn } from '../graph/positions.ts'
import { transformer } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { canvasesOf } from '../preprocess/tiling.ts'
import { squareTiles } from './parts/square-tiles.ts'

/** Every canvas of up to three by three tiles except that of one tile (llama.cpp's `set_llava_uhd_res_candidates`). */
const canvases = canvasesOf(2, 9, 3)

/**
 * Llama 4: an image is cut into square tiles, and an overview follows them. A tower with learned and rotary positions reads
 * each with a class token, and squares of patches are joined, column by column. After llama.cpp's tools/mtmd
 * (models/llama4.cpp, `mtmd_image_preprocessor_llava_uhd`).
 */
export const llama4: ImageFamily = {
  types: ['llama4'],
  width: (metadata) => metadata.needTensor('mm.model.fc.weight').rows,

  open(metadata) {
    const tower = transformer(metadata, { rope })
    const tiles = squareTiles(metadata, tower, canvases, ['<|image_start|>', '<|image_end|>'])

    return {
      ...tiles.outside,

      build(graph) {
        const joined = tiles.joined(graph, { squares: 'columns' })
        const first = graph.gelu(linear(graph, joined, 'mm.model.mlp.1'))
        return linear(graph, graph.gelu(linear(graph, first, 'mm.model.mlp.2')), 'mm.model.fc')
      },
    }
  },
}

/** Patches count from 1; the class token, which follows them, is at 0. */
const rope: Rope2d = {
  ...ropeByColumn,
  positions(grid) {
    const { first, second } = ropeByColumn.positions(grid)
    const withClass = (positions: Int32Array) => Int32Array.from([...positions.map((at) => at + 1), 0])
    return { first: withClass(first), second: withClass(second) }
  },
}
