import type { Architecture } from './architecture.ts'
import { type Grid, linear, type Rope2d } from './graph.ts'
import type { Metadata } from './metadata.ts'
import { patchReader } from './patches.ts'
import { ropeByColumn, withoutClass } from './positions.ts'
import type { Size } from './resize.ts'
import { tiling } from './tiling.ts'
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
  const vision = (key: string, fallback?: number) => metadata.number(`clip.vision.${key}`, fallback)
  const tower = transformer(metadata, { rope })
  const reader = patchReader(metadata)
  const factor = vision('projector.scale_factor', 1)
  const edge = vision('image_size')
  const side = Math.floor(edge / reader.patch)
  const grid: Grid = { rows: side, columns: side }
  const tiles = tiling(edge, canvases, (side / factor) ** 2)

  return {
    name: 'llama4',
    width: vision('projection_dim'),
    longestEdge: tiles.longestEdge,

    plan(original, detail) {
      const canvas = tiles.canvas(original, detail)
      const { overview, tiles: parts } = tiles.plan(canvas)
      const name = canvas === null ? 'overview' : `${canvas.width}x${canvas.height}`
      return { original, detail, name, layout: ['<|image_start|>', ...parts, overview, '<|image_end|>'] }
    },

    scale: (picture, { original, detail }) => tiles.scale(picture, tiles.canvas(original, detail)),
    prepare: (scaled, tile) => reader.read(scaled, tile),
    grid: () => grid,

    build(graph) {
      const patches = linear(graph, graph.input(side * side, 3 * reader.patch * reader.patch), 'v.patch_embd')
      const rows = graph.concatRows(patches, graph.weight('v.class_embd'))
      const seen = tower.all(graph, graph.add(rows, graph.weight('v.position_embd.weight')))
      const joined = graph.joinPatches(withoutClass(graph, seen), grid, factor, { squares: 'columns' })
      const first = graph.gelu(linear(graph, joined, 'mm.model.mlp.1'))
      return linear(graph, graph.gelu(linear(graph, first, 'mm.model.mlp.2')), 'mm.model.fc')
    },

    finisher: () => (embeddings) => embeddings,
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
