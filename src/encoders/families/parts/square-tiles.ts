import type { Metadata } from '../../../gguf/index.ts'
import { type GraphBuilder, type Grid, type JoinOrder, linear } from '../../graph/builder.ts'
import { withoutClass } from '../../graph/positions.ts'
import type { Transformer } from '../../graph/transformer.ts'
import type { ImagePipeline } from '../../image-architecture.ts'
import { patchReader } from '../../preprocess/patches.ts'
import type { Size } from '../../preprocess/resize.ts'
import { tiling } from '../../preprocess/tiling.ts'

/** For encoders that read square tiles, and an overview after them, each with a class token. */
interface SquareTiles {
  /** The part of the pipeline outside of the graph. */
  readonly outside: Omit<ImagePipeline, 'build'>
  /** The output of the tower, each square of patches joined into one row: `[tokens, width * factor²]` */
  joined<N>(graph: GraphBuilder<N>, order?: JoinOrder): N
}

/**
 * @param canvases that an image may be cut into, in tiles
 * @param marks text before and after the tiles of an image
 */
export function squareTiles(
  metadata: Metadata,
  tower: Transformer,
  canvases: readonly Size[],
  marks: readonly [string, string],
): SquareTiles {
  const reader = patchReader(metadata)
  const factor = metadata.number('clip.vision.projector.scale_factor', 1)
  const edge = metadata.number('clip.vision.image_size')
  const side = Math.floor(edge / reader.patch)
  const grid: Grid = { rows: side, columns: side }

  return {
    outside: {
      ...tiling(edge, canvases, (side / factor) ** 2, marks),
      prepare: reader.read,
      grid: () => grid,
    },

    joined(graph, order) {
      const patches = linear(graph, graph.input(side * side, 3 * reader.patch * reader.patch), 'v.patch_embd')
      const rows = graph.concatRows(patches, graph.weight('v.class_embd'))
      const seen = tower.all(graph, graph.add(rows, graph.weight('v.position_embd.weight')))
      return graph.joinPatches(withoutClass(graph, seen), grid, factor, order)
    },
  }
}
