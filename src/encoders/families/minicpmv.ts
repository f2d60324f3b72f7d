import { unsupportedModel } from '../../errors.ts'
import { type GraphBuilder, type Grid, layerNorm, linear } from '../graph/builder.ts'
import { siglip } from '../graph/transformer.ts'
import type { ImageFamily, Tile } from '../image-architecture.ts'
import { patchReader } from '../preprocess/patches.ts'
import { gridOf } from '../preprocess/sizes.ts'
import { bucketsOf, minicpmSlices } from './parts/minicpm.ts'

/** Numbers in one head of the resampler. */
const headWidth = 128

/** Versions that mark slices as 2.6 does. */
const sinceTwoSix: readonly number[] = [3, 4, 5, 6, 100045]

/**
 * MiniCPM-V 2.5, 2.6, 4, 4.5 and o: an image is cut into slices, preceded by an overview. SigLIP reads each in its own
 * aspect, and a resampler, whose learned queries attend to the patches, makes the same number of embeddings of each. After
 * llama.cpp's tools/mtmd (`clip_graph_minicpmv`, models/minicpmv.cpp).
 */
export const minicpmv: ImageFamily = {
  types: ['resampler'],
  coordinates: 1000,
  width: (metadata) => metadata.needTensor('resampler.proj.weight').rows,

  open(metadata, width) {
    const version = metadata.number('clip.minicpmv_version', 0) || 2
    if (version !== 2 && !sinceTwoSix.includes(version))
      throw unsupportedModel(`Version ${version} of MiniCPM-V is not supported.`)
    const wrapped = version === 2
    const tower = siglip(metadata)
    const reader = patchReader(metadata)
    const { edge } = tower
    const tokens = metadata.number('clip.minicpmv_query_num', 0) || (wrapped ? 96 : 64)
    const epsilon = metadata.number('clip.vision.attention.layer_norm_epsilon')

    return {
      ...minicpmSlices(reader, {
        ...{ edge, factor: 1, wrapped },
        whole: ({ width, height }) => (width <= edge && height <= edge ? { width: edge, height: edge } : null),
        tokens: () => tokens,
      }),

      build<N>(graph: GraphBuilder<N>, part: Tile): N {
        const { rows, columns } = gridOf(part.size, reader.patch)
        const patches = graph.input(rows * columns, 3 * reader.patch * reader.patch)
        const positions = graph.takeRows(graph.weight('v.position_embd.weight'), 'buckets', bucketsOf)
        const seen = linear(graph, tower.build(graph, patches, positions), 'resampler.kv')
        const values = layerNorm(graph, seen, 'resampler.ln_kv', epsilon)
        const places = graph.table('waves', width, (of) => waves(of, width))
        const keys = graph.add(values, places)
        const queries = layerNorm(graph, graph.weight('resampler.query'), 'resampler.ln_q', epsilon)
        const mixed = graph.attention(
          linear(graph, queries, 'resampler.attn.q'),
          linear(graph, keys, 'resampler.attn.k'),
          linear(graph, values, 'resampler.attn.v'),
          width / headWidth,
        )
        const out = layerNorm(graph, linear(graph, mixed, 'resampler.attn.out'), 'resampler.ln_post', epsilon)
        return linear(graph, out, 'resampler.proj')
      },
    }
  },
}

/** Sines and cosines of each patch's column, then of its row: `[patches, width]` */
function waves({ rows, columns }: Grid, width: number): Float32Array {
  const f = Math.fround
  const quarter = width / 4
  const frequencies = Float32Array.from({ length: quarter }, (_, at) => 1 / f(10000 ** f(at / quarter)))
  const out = new Float32Array(rows * columns * width)
  for (let patch = 0; patch < rows * columns; patch++)
    [patch % columns, Math.floor(patch / columns)].forEach((place, axis) => {
      frequencies.forEach((frequency, at) => {
        const angle = f(frequency * place)
        const to = patch * width + axis * 2 * quarter + at
        out[to] = Math.sin(angle)
        out[to + quarter] = Math.cos(angle)
      })
    })
  return out
}
