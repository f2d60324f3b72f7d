import type { Architecture } from './architecture.ts'
import { linear, type Rope2d } from './graph.ts'
import type { Metadata } from './metadata.ts'
import { ropeByColumn } from './positions.ts'
import type { Size } from './resize.ts'
import { squareTiles } from './square-tiles.ts'
import { transformer } from './transformer.ts'

/** Every canvas of up to three by three tiles but that of one (llama.cpp's `set_llava_uhd_res_candidates`). */
const canvases: readonly Size[] = [1, 2, 3]
  .flatMap((width) => [1, 2, 3].map((height) => ({ width, height })))
  .filter(({ width, height }) => width * height > 1)

/**
 * Llama 4: a picture is cut into square tiles with an overview behind them, a tower with learned and rotary positions reads
 * each of them beside a class token, and squares of patches are joined, column by column. After llama.cpp's tools/mtmd
 * (models/llama4.cpp, `mtmd_image_preprocessor_llava_uhd`).
 */
export function llama4(metadata: Metadata): Architecture {
  const tower = transformer(metadata, { rope })
  const tiles = squareTiles(metadata, tower, canvases, ['<|image_start|>', '<|image_end|>'])

  return {
    name: 'llama4',
    width: metadata.number('clip.vision.projection_dim'),
    ...tiles.outside,

    build(graph) {
      const joined = tiles.joined(graph, { squares: 'columns' })
      const first = graph.gelu(linear(graph, joined, 'mm.model.mlp.1'))
      return linear(graph, graph.gelu(linear(graph, first, 'mm.model.mlp.2')), 'mm.model.fc')
    },
  }
}

/** Patches count from 1, and the class token behind them stands at 0. */
const byColumn = ropeByColumn(10000)
const rope: Rope2d = {
  ...byColumn,
  positions(grid) {
    const { first, second } = byColumn.positions(grid)
    const behind = (positions: Int32Array) => Int32Array.from([...positions.map((at) => at + 1), 0])
    return { first: behind(first), second: behind(second) }
  },
}
