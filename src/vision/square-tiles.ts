import type { Architecture } from './architecture.ts'
import { type GraphBuilder, type Grid, type JoinOrder, linear } from './graph.ts'
import type { Metadata } from './metadata.ts'
import { patchReader } from './patches.ts'
import { withoutClass } from './positions.ts'
import type { Size } from './resize.ts'
import { tiling } from './tiling.ts'
import type { Transformer } from './transformer.ts'

/** What encoders have in common that read square tiles and an overview behind them, each beside a class token. */
interface SquareTiles {
  /** What becomes of pictures outside of the graph. */
  readonly outside: Pick<Architecture, 'longestEdge' | 'plan' | 'scale' | 'prepare' | 'grid' | 'finisher'>
  /** What the tower sees, squares of patches joined into one row each: `[tokens, width * factor²]` */
  joined<N>(graph: GraphBuilder<N>, order?: JoinOrder): N
}

/**
 * @param canvases that a picture may be cut into, in tiles
 * @param marks text before and behind a picture's tiles
 */
export function squareTiles(
  metadata: Metadata,
  tower: Transformer,
  canvases: readonly Size[],
  [before, behind]: readonly [string, string],
): SquareTiles {
  const reader = patchReader(metadata)
  const factor = metadata.number('clip.vision.projector.scale_factor', 1)
  const edge = metadata.number('clip.vision.image_size')
  const side = Math.floor(edge / reader.patch)
  const grid: Grid = { rows: side, columns: side }
  const tiles = tiling(edge, canvases, (side / factor) ** 2)

  return {
    outside: {
      longestEdge: tiles.longestEdge,
      plan(original, detail) {
        const canvas = tiles.canvas(original, detail)
        const { overview, tiles: parts } = tiles.plan(canvas)
        const name = canvas === null ? 'overview' : `${canvas.width}x${canvas.height}`
        return { original, detail, name, layout: [before, ...parts, overview, behind] }
      },
      scale: (picture, { original, detail }) => tiles.scale(picture, tiles.canvas(original, detail)),
      prepare: (scaled, tile) => reader.read(scaled, tile),
      grid: () => grid,
      finisher: () => (embeddings) => embeddings,
    },

    joined(graph, order) {
      const patches = linear(graph, graph.input(side * side, 3 * reader.patch * reader.patch), 'v.patch_embd')
      const rows = graph.concatRows(patches, graph.weight('v.class_embd'))
      const seen = tower.all(graph, graph.add(rows, graph.weight('v.position_embd.weight')))
      return graph.joinPatches(withoutClass(graph, seen), grid, factor, order)
    },
  }
}
