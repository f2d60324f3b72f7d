import type { Metadata } from '../../../gguf/index.ts'
import type { GraphBuilder, Grid } from '../../graph/builder.ts'
import { clip } from '../../graph/clip.ts'
import type { ImagePipeline } from '../../image-architecture.ts'
import { anyres } from '../../preprocess/anyres.ts'
import { patchReader } from '../../preprocess/patches.ts'

/** What turns the rows of a tower into embeddings. */
interface Projector {
  /** Patches that become one embedding. */
  readonly patches: number
  /** `[patches, tower width]` -> `[patches / this.patches, width]` */
  build<N>(graph: GraphBuilder<N>, x: N, grid: Grid): N
}

/** CLIP over LLaVA's tiles, followed by a projector. */
export function withClip(metadata: Metadata, projector: Projector): ImagePipeline {
  const tower = clip(metadata)
  const reader = patchReader(metadata)
  const side = Math.floor(tower.edge / reader.patch)
  const grid: Grid = { rows: side, columns: side }
  return {
    ...anyres(metadata, tower.edge, (side * side) / projector.patches),
    prepare: reader.read,
    grid: () => grid,
    build<N>(graph: GraphBuilder<N>): N {
      const patches = graph.input(side * side, 3 * reader.patch * reader.patch)
      return projector.build(graph, tower.build(graph, patches), grid)
    },
  }
}
