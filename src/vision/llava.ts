import { anyres } from './anyres.ts'
import type { Architecture } from './architecture.ts'
import { clip } from './clip.ts'
import { type GraphBuilder, type Grid, layerNorm, linear } from './graph.ts'
import type { Metadata } from './metadata.ts'
import { patchReader } from './patches.ts'

/** What turns a tower's rows into embeddings. */
export interface Projector {
  /** As `clip.projector_type` has it. */
  readonly name: string
  /** Numbers in one embedding. */
  readonly width: number
  /** Patches that become one embedding. */
  readonly patches: number
  /** `[patches, tower width]` -> `[patches / patches, width]` */
  build<N>(graph: GraphBuilder<N>, x: N, grid: Grid): N
}

/**
 * LLaVA 1.5 and 1.6, and Granite Vision after them: CLIP or SigLIP, and a projector of two layers. After llama.cpp's
 * tools/mtmd (`PROJECTOR_TYPE_MLP` and `_MLP_NORM`, models/llava.cpp).
 */
export const llava = (metadata: Metadata): Architecture =>
  clipWith(metadata, metadata.tensor('mm.3.weight') === null ? twoLayers(metadata) : twoLayersNormed(metadata))

function twoLayers(metadata: Metadata): Projector {
  return {
    name: 'mlp',
    width: metadata.tensor('mm.2.weight')?.rows ?? metadata.number('clip.vision.projection_dim'),
    patches: 1,
    build: (graph, x) => linear(graph, graph.gelu(linear(graph, x, 'mm.0')), 'mm.2'),
  }
}

/** Of Yi-VL: a norm behind each layer. */
function twoLayersNormed(metadata: Metadata): Projector {
  const epsilon = metadata.number('clip.vision.attention.layer_norm_epsilon')
  return {
    name: 'mlp',
    width: metadata.tensor('mm.3.weight')?.rows ?? 0,
    patches: 1,
    build(graph, x) {
      const inner = graph.gelu(layerNorm(graph, linear(graph, x, 'mm.0'), 'mm.1', epsilon))
      return layerNorm(graph, linear(graph, inner, 'mm.3'), 'mm.4', epsilon)
    },
  }
}

/** CLIP over LLaVA's tiles, whatever projector follows. */
export function clipWith(metadata: Metadata, projector: Projector): Architecture {
  const tower = clip(metadata)
  const reader = patchReader(metadata)
  const side = Math.floor(tower.edge / reader.patch)
  const grid: Grid = { rows: side, columns: side }
  return {
    name: projector.name,
    width: projector.width,
    ...anyres(metadata, tower.edge, (side * side) / projector.patches),
    prepare: reader.read,
    grid: () => grid,
    build<N>(graph: GraphBuilder<N>): N {
      const patches = graph.input(side * side, 3 * reader.patch * reader.patch)
      return projector.build(graph, tower.build(graph, patches), grid)
    },
    finisher: () => (embeddings) => embeddings,
  }
}
