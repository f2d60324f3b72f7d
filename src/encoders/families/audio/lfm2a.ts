import { type AudioChunk, type AudioFamily, audioRate } from '../../audio-architecture.ts'
import { type Blocks, type GraphBuilder, type Grid, layerNorm, linear, strided } from '../../graph/builder.ts'
import { logMel, type MelKind } from '../../preprocess/mel.ts'
import { heardApart } from './parts/chunks.ts'
import { conformerLayer } from './parts/conformer.ts'

/** Of all norms. */
const epsilon = 1e-5
const mel = {
  rate: audioRate,
  frame: 512,
  window: 400,
  hop: 160,
  least: 2 ** -24,
  log: Math.log,
} as const
/** What a sample loses to the next one. */
const emphasis = 0.97
/** Added to the variance of a band. */
const leastVariance = 1e-5
/** Samples of a chunk: 60 s. Every row attends to every other, and all scores are in memory. */
const chunkSamples = 60 * audioRate
/** A shorter sound has no variance. */
const leastSamples = 2 * mel.hop

const framesOf = (samples: number): number => Math.floor(Math.max(samples, leastSamples) / mel.hop) + 1
const rowsOf = (frames: number): number => Math.ceil(frames / 8)

/** All rows in one block. */
const blocks: Blocks = {
  rows: ({ rows }) => rowsOf(rows),
  size: ({ rows }) => rowsOf(rows),
  before: 0,
  distanceCount: ({ rows }) => 2 * rowsOf(rows) - 1,
  distance: (back, { rows }) => rowsOf(rows) - 1 - back,
}

/**
 * LFM2-Audio: a conformer, whose rows attend to all others and to their distances. After llama.cpp's tools/mtmd
 * (models/conformer.cpp, `mtmd_audio_preprocessor_conformer`), which reads a sound as one chunk, however long.
 */
export const lfm2a: AudioFamily = {
  types: ['lfm2a'],
  width: (metadata) => metadata.needTensor('mm.a.mlp.3.weight').rows,

  open(metadata) {
    const kind: MelKind = { ...mel, bands: metadata.number('clip.audio.num_mel_bins') }
    const width = metadata.number('clip.audio.embedding_length')
    const heads = metadata.number('clip.audio.attention.head_count')
    const layers = metadata.number('clip.audio.block_count')
    const channels = metadata.needTensor('a.conv1d.0.weight').rows

    const layer = <N>(graph: GraphBuilder<N>, x: N, index: number): N => {
      const name = `a.blk.${index}`
      const kernel = metadata.needTensor(`${name}.conv_dw.weight`).columns
      return conformerLayer(graph, x, name, {
        ...{ epsilon, inner: width, kernel, moves: true },
        attention(y, part) {
          const q = linear(graph, y, part('attn_q'))
          const k = linear(graph, y, part('attn_k'))
          const v = linear(graph, y, part('attn_v'))
          const asking = (bias: string) => graph.add(q, graph.joinRows(graph.weight(part(bias)), heads))
          const far = graph.table('waves', width, ({ rows }) => waves(width, rowsOf(rows)))
          const asked = { q: asking('pos_bias_u'), k, v, asked: asking('pos_bias_v') }
          const distances = linear(graph, far, part('linear_pos'))
          return graph.blockAttention({ ...asked, distances }, heads, blocks, 1 / Math.sqrt(width / heads))
        },
      })
    }

    return {
      ...heardApart({
        samples: chunkSamples,
        bands: kind.bands,
        framesOf,
        tokensOf: rowsOf,
        hear: (samples) => heardIn(samples, kind),
      }),

      grid: ({ frames }) => ({ rows: frames, columns: kind.bands }),

      build<N>(graph: GraphBuilder<N>, { frames }: AudioChunk): N {
        let grid: Grid = { rows: frames, columns: kind.bands }
        const weight = (index: number) => graph.weight(`a.conv1d.${index}.weight`)
        const moved = (y: N, index: number) =>
          graph.add(y, graph.joinRows(graph.weight(`a.conv1d.${index}.bias`), channels))
        const input = graph.input(frames * kind.bands, 1)
        let x = graph.relu(moved(graph.convolution(input, weight(0), grid, 2, 'centred', 1), 0))
        for (const [index, divided] of [
          [2, 2],
          [5, 4],
        ] as const) {
          grid = strided(grid, 2)
          const apart = moved(graph.depthwise(x, weight(index), grid, 2, 'centred', divided), index)
          x = graph.relu(moved(graph.matmul(weight(index + 1), apart), index + 1))
        }
        const { columns } = strided(grid, 2)
        x = linear(graph, graph.interleave(graph.joinRows(x, columns), columns), 'a.pre_encode.out')
        for (let index = 0; index < layers; index++) x = layer(graph, x, index)
        const normed = layerNorm(graph, x, 'mm.a.mlp.0', epsilon)
        return linear(graph, graph.geluErf(linear(graph, normed, 'mm.a.mlp.1')), 'mm.a.mlp.3')
      },
    }
  },
}

/** Each band with a mean of 0 and a deviation of 1 over the sound; what is beyond its last whole frame is 0. */
function* heardIn(samples: Float32Array, kind: MelKind): Generator<undefined, Float32Array, undefined> {
  const half = mel.frame / 2
  const padded = new Float32Array(Math.max(samples.length, leastSamples) + mel.frame)
  for (const [at, value] of samples.entries())
    padded[half + at] = at === 0 ? value : value - emphasis * (samples[at - 1] as number)
  const { values, width } = yield* logMel(padded, kind)
  const whole = Math.floor((padded.length - mel.frame) / mel.hop)
  values.fill(0, whole * width)
  for (let band = 0; band < width; band++) {
    let [sum, squares] = [0, 0]
    for (let at = band; at < whole * width; at += width) sum += values[at] as number
    const mean = sum / whole
    for (let at = band; at < whole * width; at += width) squares += ((values[at] as number) - mean) ** 2
    const deviation = Math.sqrt(squares / (whole - 1) + leastVariance)
    for (let at = band; at < whole * width; at += width) values[at] = ((values[at] as number) - mean) / deviation
  }
  return values
}

/** Sines and cosines of the distances `rows` - 1 to 1 - `rows`: `[2 rows - 1, width]` */
const waves = (width: number, rows: number): Float32Array =>
  Float32Array.from({ length: (2 * rows - 1) * width }, (_, at) => {
    const [distance, place] = [rows - 1 - Math.floor(at / width), at % width]
    const angle = distance * Math.exp((-Math.log(10000) / width) * (place - (place % 2)))
    return place % 2 === 0 ? Math.sin(angle) : Math.cos(angle)
  })
