import { type GraphBuilder, linear, type Rope2d } from '../graph/builder.ts'
import { ropeByColumn } from '../graph/positions.ts'
import { transformer } from '../graph/transformer.ts'
import type { ImageFamily } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { gridOf } from '../preprocess/sizes.ts'
import { bounded, gemma4AtOnce, gemma4Factor, gemma4Images, gemma4Width, placesOf } from './parts/gemma4.ts'

const rope: Rope2d = { ...ropeByColumn, base: 100, pairs: 'quarters' }

/** Embeddings of the decoders of E2B and E4B, which attend to an image as to text. The others read it at once. */
const causalWidths: readonly number[] = [1536, 2560]

/**
 * Gemma 4: an image is read in its own aspect, and squares of patches are averaged. Learned positions and rotary ones say
 * the column and the row of a patch; queries, keys and values are normed, and so is what each part of a layer adds. After
 * llama.cpp's tools/mtmd (models/gemma4v.cpp, `mtmd_image_preprocessor_dyn_size`, `mtmd_decode_use_non_causal`).
 *
 * Its numbers reach 80,000, and so leave the range of 16-bit floats: nothing here may be computed in those.
 */
export const gemma4v: ImageFamily = {
  types: ['gemma4v'],
  coordinates: 1000,
  width: gemma4Width,

  open(metadata, width) {
    const tower = transformer(metadata, { norm: 'rms', product: bounded, normsValues: true, scale: 1, rope })
    const reader = patchReader(metadata, { from: (value) => 2 * value - 1 })
    const { patch } = reader
    const factor = gemma4Factor(metadata)

    return {
      ...gemma4Images(reader, factor),
      ...(causalWidths.includes(width) ? {} : { atOnce: gemma4AtOnce }),

      build(graph, { size }) {
        const grid = gridOf(size, patch)
        const pixels = graph.input(grid.rows * grid.columns, 3 * patch * patch)
        const patches = linear(graph, pixels, 'v.patch_embd')
        const seen = tower.all(graph, graph.add(patches, placesOf(graph, tower.width)))
        const averages = graph.averageParts(graph.joinPatches(seen, grid, factor), factor * factor)
        const large = standardized(graph, graph.scale(averages, Math.sqrt(tower.width)))
        return bounded(graph, graph.rmsNorm(large, undefined, tower.epsilon), 'mm.input_projection')
      },
    }
  },
}

/** (x - bias) * scale, in the larger models. */
function standardized<N>(graph: GraphBuilder<N>, x: N): N {
  if (!graph.has('v.std_bias') || !graph.has('v.std_scale')) return x
  return graph.multiply(graph.subtract(x, graph.weight('v.std_bias')), graph.weight('v.std_scale'))
}
