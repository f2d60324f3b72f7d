import { badModel } from '../../errors.ts'
import { type Grid, layerNorm } from '../graph/builder.ts'
import { transformer } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { limitsIn } from '../preprocess/sizes.ts'
import { qwenImages } from './parts/qwen.ts'

/** How the patches of a layer attend: `clip.vision.wa_pattern_mode`. */
const [toAll, byRow, byColumn] = [-1, 0, 1]

/** A constant of llama.cpp, which may differ from the tower's. */
const epsilon = 1e-6

/**
 * MiMo-VL 2.5: as Qwen2.5-VL, but in most layers a patch attends to those that are near it in one order of all patches, square
 * by square: row after row in some layers, column after column in others. After llama.cpp's tools/mtmd (models/mimovl.cpp).
 */
export const mimovl: ImageFamily = {
  types: ['mimovl'],
  width: (metadata) => metadata.needTensor('mm.2.weight').rows,

  open(metadata) {
    const factor = metadata.number('clip.vision.spatial_merge_size', 2)
    const square = metadata.number('clip.vision.patch_size') * factor
    const images = qwenImages(metadata, { limits: limitsIn(metadata, square) })
    const reach = metadata.number('clip.vision.window_size')
    const modes = metadata.integers('clip.vision.wa_pattern_mode')
    if (modes.length !== metadata.number('clip.vision.block_count'))
      throw badModel('The wa_pattern_mode of the vision file does not have a number for each layer.')
    const orders = new Map([
      [
        byRow,
        { name: 'rows', rows: ({ rows, columns }: Grid) => Int32Array.from({ length: rows * columns }, (_, at) => at) },
      ],
      [byColumn, { name: 'columns', rows: (grid: Grid) => columnOrder(grid, factor) }],
    ])
    const tower = transformer(metadata, {
      norm: 'rms',
      rope: images.rope,
      bands(layer) {
        const mode = modes[layer] ?? toAll
        if (mode === toAll) return undefined
        const order = orders.get(mode)
        if (order === undefined) throw badModel(`The vision file has a wa_pattern_mode of ${mode}.`)
        return { reach, order }
      },
    })

    return {
      ...images.outside,

      build(graph, tile) {
        let x = images.patches(graph, tile)
        for (let layer = 0; layer < tower.layers; layer++) x = tower.layer(graph, x, layer)
        const joined = images.joined(graph, layerNorm(graph, x, 'v.post_ln', epsilon))
        // The file may have biases, which llama.cpp does not add.
        const inner = graph.gelu(graph.matmul(graph.weight('mm.0.weight'), joined))
        return graph.matmul(graph.weight('mm.2.weight'), inner)
      },
    }
  },
}

/** The patches of squares that are ordered row by row, column by column. @param factor patches along the edge of a square */
function columnOrder(grid: Grid, factor: number): Int32Array {
  const [rows, columns, patches] = [grid.rows / factor, grid.columns / factor, factor ** 2]
  return Int32Array.from({ length: rows * columns * patches }, (_, at) => {
    const square = Math.floor(at / patches)
    return ((square % rows) * columns + Math.floor(square / rows)) * patches + (at % patches)
  })
}
