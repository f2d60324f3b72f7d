import type { Architecture } from './architecture.ts'
import { layerNorm, linear } from './graph.ts'
import type { Metadata } from './metadata.ts'
import type { Size } from './resize.ts'
import { squareTiles } from './square-tiles.ts'
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
  const canvasesOfFile = canvases(vision('preproc_min_tiles', 1), vision('preproc_max_tiles', 12))
  const tiles = squareTiles(metadata, tower, canvasesOfFile, ['<img>', '</img>'])

  return {
    name: 'internvl',
    width: vision('projection_dim'),
    ...tiles.outside,

    build(graph) {
      const joined = tiles.joined(graph)
      // PyTorch's own epsilon, whatever the tower's.
      const normed = layerNorm(graph, joined, 'mm.model.mlp.0', 1e-5)
      return linear(graph, graph.gelu(linear(graph, normed, 'mm.model.mlp.1')), 'mm.model.mlp.3')
    },
  }
}

/** All canvases of so many tiles, in llama.cpp's order (`set_internvl_dhr_res_candidates`). */
function canvases(least: number, most: number): Size[] {
  const edges = Array.from({ length: most }, (_, at) => at + 1)
  return edges
    .flatMap((width) => edges.map((height) => ({ width, height })))
    .filter(({ width, height }) => width * height >= least && width * height <= most)
}
