import type { Metadata } from '../../../gguf/index.ts'
import { type GraphBuilder, type Grid, layerNorm, linear, rmsNorm } from '../../graph/builder.ts'
import { type Filter, resizedPositions } from '../../graph/positions.ts'
import { type TransformerKind, transformer } from '../../graph/transformer.ts'
import type { ImagePipeline } from '../../image-architecture.ts'
import { type PatchReader, patchReader } from '../../preprocess/patches.ts'
import { gridOf, type inOwnAspect } from '../../preprocess/sizes.ts'

/** How encoders that join normed patches differ. */
interface Kind {
  tower: TransformerKind
  /** How learned positions are resized to the image, if there are any. */
  positions?: Filter
  /** The root mean square norm after the tower, if it is not the tower's own. */
  after?: string
  /** Of the norm of each patch before it is joined with others. */
  epsilon: number
  /** Patches along the edge of a square that becomes one embedding. */
  factor: number
  outside(reader: PatchReader): ReturnType<typeof inOwnAspect>
  /** `[tokens, width * factor²]` -> `[tokens, width of an embedding]` */
  project<N>(graph: GraphBuilder<N>, joined: N): N
}

/** An image in its own aspect through a transformer. Each patch is normed, squares of them are joined and projected. */
export function joinedPatches(metadata: Metadata, { factor, ...kind }: Kind): ImagePipeline {
  const tower = transformer(metadata, kind.tower)
  const reader = patchReader(metadata)
  const { patch } = reader
  return {
    ...kind.outside(reader),

    build(graph, { size }) {
      const grid: Grid = gridOf(size, patch)
      const patches = linear(graph, graph.input(grid.rows * grid.columns, 3 * patch * patch), 'v.patch_embd')
      const { positions } = kind
      const placed =
        positions === undefined ? patches : graph.add(patches, resizedPositions(graph, tower.width, positions))
      const trunk = tower.all(graph, placed)
      const seen = kind.after === undefined ? trunk : rmsNorm(graph, trunk, kind.after, tower.epsilon)
      const normed = layerNorm(graph, seen, 'mm.input_norm', kind.epsilon)
      return kind.project(graph, graph.joinPatches(normed, grid, factor))
    },
  }
}

/** Two layers, of which the first is followed by the tanh form of GELU. */
export const twoLayers = <N>(graph: GraphBuilder<N>, x: N): N =>
  linear(graph, graph.gelu(linear(graph, x, 'mm.1')), 'mm.2')
