import type { Architecture } from './architecture.ts'
import { type Grid, layerNorm, linear } from './graph.ts'
import type { Metadata } from './metadata.ts'
import { patchReader } from './patches.ts'
import { withoutClass } from './positions.ts'
import type { Size } from './resize.ts'
import { tiling } from './tiling.ts'
import { transformer } from './transformer.ts'

/**
 * InternVL: a picture is cut into square tiles with an overview behind them, InternViT reads each of them beside a class
 * token, and squares of patches are joined into one embedding. After llama.cpp's tools/mtmd (models/internvl.cpp,
 * `mtmd_image_preprocessor_internvl`).
 */
export function internvl(metadata: Metadata): Architecture {
  const vision = (key: string, fallback?: number) => metadata.number(`clip.vision.${key}`, fallback)
  // The 6B tower of the largest models has the other norm, which no file says.
  const large = vision('embedding_length') === 3200 && vision('block_count') === 45
  const tower = transformer(metadata, { norm: large ? 'rms' : 'layer' })
  const reader = patchReader(metadata)
  const factor = vision('projector.scale_factor', 1)
  const edge = vision('image_size')
  const side = Math.floor(edge / reader.patch)
  const grid: Grid = { rows: side, columns: side }
  const tiles = tiling(
    edge,
    canvases(vision('preproc_min_tiles', 1), vision('preproc_max_tiles', 12)),
    (side / factor) ** 2,
  )

  return {
    name: 'internvl',
    width: vision('projection_dim'),
    longestEdge: tiles.longestEdge,

    plan(original, detail) {
      const canvas = tiles.canvas(original, detail)
      const { overview, tiles: parts } = tiles.plan(canvas)
      const name = canvas === null ? 'overview' : `${canvas.width}x${canvas.height}`
      return { original, detail, name, layout: ['<img>', ...parts, overview, '</img>'] }
    },

    scale: (picture, { original, detail }) => tiles.scale(picture, tiles.canvas(original, detail)),
    prepare: (scaled, tile) => reader.read(scaled, tile),
    grid: () => grid,

    build(graph) {
      const patches = linear(graph, graph.input(side * side, 3 * reader.patch * reader.patch), 'v.patch_embd')
      const rows = graph.concatRows(patches, graph.weight('v.class_embd'))
      const seen = tower.all(graph, graph.add(rows, graph.weight('v.position_embd.weight')))
      const joined = graph.joinPatches(withoutClass(graph, seen), grid, factor)
      // PyTorch's own epsilon, whatever the tower's.
      const normed = layerNorm(graph, joined, 'mm.model.mlp.0', 1e-5)
      return linear(graph, graph.gelu(linear(graph, normed, 'mm.model.mlp.1')), 'mm.model.mlp.3')
    },

    finisher: () => (embeddings) => embeddings,
  }
}

/** All canvases of so many tiles, in llama.cpp's order (`set_internvl_dhr_res_candidates`). */
function canvases(least: number, most: number): Size[] {
  const edges = Array.from({ length: most }, (_, at) => at + 1)
  return edges
    .flatMap((width) => edges.map((height) => ({ width, height })))
    .filter(({ width, height }) => width * height >= least && width * height <= most)
}
