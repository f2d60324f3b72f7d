import { type AudioFamily, audioRate } from '../../audio-architecture.ts'
import { type Blocks, type GraphBuilder, type Grid, rmsNorm, strided } from '../../graph/builder.ts'
import { hann, logMel, type MelKind } from '../../preprocess/mel.ts'
import { bounded } from '../parts/gemma4.ts'
import { heardApart } from './parts/chunks.ts'

/** Of norms: what files say is wrong. */
const epsilon = 1e-6
/** Samples of a chunk: 30 s. */
const chunkSamples = 30 * audioRate
const mel = {
  rate: audioRate,
  frame: 512,
  hop: 160,
  least: 0.001,
  log: Math.log,
  scale: 'htk',
  magnitudes: true,
} as const
/** Hann's window of 20 ms, at the beginning of a frame. */
const window = new Float32Array(mel.frame)
window.set(hann(320))
/** Samples of silence before a chunk. */
const silence = 160
/** Convolutions of stride 2. */
const convolutions = 2

/** Frames of a chunk: 20 ms and a sample are needed for each. */
const framesOf = (samples: number): number => Math.max(0, Math.floor((samples + silence - 321) / mel.hop)) + 1

const rowsOf = (frames: number): number => Math.ceil(frames / 4)

/** A row sees itself and eleven rows before it. */
const blocks: Blocks = {
  rows: ({ rows }) => rowsOf(rows),
  size: () => 12,
  before: 12,
  distanceCount: () => 13,
  distance: (back) => 12 - back,
  sees: (back) => back >= 0 && back < 12,
}

/**
 * Gemma 4 E2B and E4B: a conformer, whose rows attend to half a second. After llama.cpp's tools/mtmd (models/gemma4a.cpp,
 * `mtmd_audio_preprocessor_gemma4a`).
 */
export const gemma4a: AudioFamily = {
  types: ['gemma4a'],
  width: (metadata) => metadata.needTensor('mm.a.input_projection.weight').rows,

  open(metadata) {
    const kind: MelKind = { ...mel, bands: metadata.number('clip.audio.num_mel_bins') }
    const width = metadata.number('clip.audio.embedding_length')
    const heads = metadata.number('clip.audio.attention.head_count')
    const layers = metadata.number('clip.audio.block_count')
    const head = width / heads
    const scales = { q: 1 / Math.sqrt(head) / Math.log(2), k: Math.log(1 + Math.E) / Math.log(2) }

    /** Queries or keys, scaled in all, and each number of a head by itself. */
    const scaled = <N>(graph: GraphBuilder<N>, x: N, factor: number, name: string): N => {
      const all = graph.scale(x, factor)
      if (!graph.has(name)) return all
      return graph.joinRows(graph.multiply(graph.splitRows(all, heads), graph.weight(name)), heads)
    }

    const layer = <N>(graph: GraphBuilder<N>, x: N, index: number): N => {
      const part = (name: string) => `a.blk.${index}.${name}`
      const maybe = (y: N, name: string) =>
        graph.has(`${part(name)}.weight`) ? rmsNorm(graph, y, part(name), epsilon) : y
      const feedForward = (y: N, more: string): N => {
        const up = graph.silu(bounded(graph, maybe(y, `ffn_norm${more}`), part(`ffn_up${more}`)))
        const down = bounded(graph, up, part(`ffn_down${more}`))
        return graph.add(y, graph.scale(maybe(down, `ffn_post_norm${more}`), 0.5))
      }
      const attended = (y: N): N => {
        const normed = maybe(y, graph.has(`${part('attn_pre_norm')}.weight`) ? 'attn_pre_norm' : 'ln1')
        const q = scaled(graph, bounded(graph, normed, part('attn_q')), scales.q, part('per_dim_scale.weight'))
        const k = scaled(graph, bounded(graph, normed, part('attn_k')), scales.k, part('per_dim_k_scale.weight'))
        const v = bounded(graph, normed, part('attn_v'))
        const far = graph.table('waves', width, () => waves(width))
        const distances = graph.matmul(graph.weight(part('attn_k_rel.weight')), far)
        const mixed = graph.blockAttention({ q, k, v, asked: q, distances }, heads, blocks, 1, 50)
        return graph.add(y, maybe(bounded(graph, mixed, part('attn_out')), 'attn_post_norm'))
      }
      const convolved = (y: N): N => {
        // The names of these norms are swapped in files.
        const both = bounded(graph, maybe(y, 'conv_norm'), part('conv_pw1'))
        const gated = graph.multiply(graph.columns(both, 0, width), graph.sigmoid(graph.columns(both, width, width)))
        const weight = graph.weight(part('conv_dw.weight'))
        const before = metadata.needTensor(part('conv_dw.weight')).columns - 1
        const active = graph.silu(maybe(graph.depthwiseRows(gated, weight, before), 'norm_conv'))
        return graph.add(y, bounded(graph, active, part('conv_pw2')))
      }
      return maybe(feedForward(convolved(attended(feedForward(x, ''))), '_1'), 'ln2')
    }

    return {
      ...heardApart({
        samples: chunkSamples,
        bands: kind.bands,
        marks: ['<|audio>', '<audio|>'],
        framesOf,
        tokensOf: rowsOf,
        *hear(samples) {
          const padded = new Float32Array((framesOf(samples.length) - 1) * mel.hop + mel.frame)
          padded.set(samples, silence)
          return (yield* logMel(padded, kind, window)).values
        },
      }),

      grid: ({ frames }) => ({ rows: frames, columns: kind.bands }),

      build(graph, { frames }) {
        let x = graph.input(frames * kind.bands, 1)
        let grid: Grid = { rows: frames, columns: kind.bands }
        for (let index = 0; index < convolutions; index++) {
          const name = `a.conv1d.${index}`
          x = graph.convolution(x, graph.weight(`${name}.weight`), grid, 2, 'centred', 2 ** index)
          const norm = `${name}.norm.weight`
          if (graph.has(norm)) x = graph.layerNorm(x, graph.weight(norm), undefined, epsilon)
          x = graph.relu(x)
          grid = strided(grid, 2)
        }
        x = bounded(graph, graph.joinRows(x, grid.columns), 'a.input_projection')
        for (let index = 0; index < layers; index++) x = layer(graph, x, index)
        if (graph.has('a.pre_encode.out.weight')) x = bounded(graph, x, 'a.pre_encode.out')
        const norm = graph.has('mm.a.soft_emb_norm.weight') ? graph.weight('mm.a.soft_emb_norm.weight') : undefined
        return bounded(graph, graph.rmsNorm(x, norm, epsilon), 'mm.a.input_projection')
      },
    }
  },
}

/** Sines and cosines of the distances 12 to 0: `[13, width]` */
function waves(width: number): Float32Array {
  const half = width / 2
  const step = Math.log(10000) / Math.max(half - 1, 1)
  return Float32Array.from({ length: 13 * width }, (_, at) => {
    const [distance, place] = [12 - Math.floor(at / width), at % width]
    const angle = distance * Math.exp(-(place % half) * step)
    return place < half ? Math.sin(angle) : Math.cos(angle)
  })
}
