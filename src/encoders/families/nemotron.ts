import { linear, rmsNorm } from '../graph/builder.ts'
import { transformer } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { wholeSquare } from './parts/whole-square.ts'

/** PyTorch's default, which may differ from the tower's. */
const epsilon = 1e-6

/**
 * Nemotron Nano 2 VL: an image is fitted into one square. RADIO reads it, with several class tokens before the patches, and
 * squares of patches are joined into one embedding. After llama.cpp's tools/mtmd (models/nemotron-v2-vl.cpp,
 * `mtmd_image_preprocessor_fixed_size`), which does not cut tiles as the maker's processor does.
 */
export const nemotron: ImageFamily = {
  types: ['nemotron_v2_vl'],
  width: (metadata) => metadata.needTensor('mm.model.mlp.3.weight').rows,

  open(metadata) {
    const tower = transformer(metadata)
    const factor = metadata.number('clip.vision.projector.scale_factor', 1)
    const classes = metadata.tensor('v.class_embd')?.rows ?? 0
    const { outside, side, patches } = wholeSquare(metadata, { tokens: (side) => (side / factor) ** 2 })

    return {
      ...outside,

      build(graph) {
        const placed = graph.add(patches(graph), graph.weight('v.position_embd.weight'))
        const seen = tower.all(graph, graph.concatRows(graph.weight('v.class_embd'), placed))
        const ofPatches = graph.takeRows(seen, 'all but the classes', ({ rows, columns }) =>
          Int32Array.from({ length: rows * columns }, (_, row) => classes + row),
        )
        const joined = graph.joinPatches(ofPatches, { rows: side, columns: side }, factor)
        const raised = graph.relu(linear(graph, rmsNorm(graph, joined, 'mm.model.mlp.0', epsilon), 'mm.model.mlp.1'))
        return linear(graph, graph.multiply(raised, raised), 'mm.model.mlp.3')
      },
    }
  },
}
