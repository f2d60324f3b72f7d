import { badModel } from '../../../errors.ts'
import type { Metadata } from '../../../gguf/index.ts'
import { type AudioChunk, type AudioFamily, audioRate } from '../../audio-architecture.ts'
import { type Blocks, type GraphBuilder, layerNorm, linear } from '../../graph/builder.ts'
import { inWhisperRange, logMel, type MelKind, mirrored } from '../../preprocess/mel.ts'
import { qFormerLayer } from '../parts/qformer.ts'
import { ownFrames } from './parts/chunks.ts'
import { conformerLayer } from './parts/conformer.ts'

const mel = {
  rate: audioRate,
  frame: 512,
  window: 400,
  hop: 160,
  least: 1e-10,
  log: Math.log10,
  scale: 'htk',
} as const
/** Frames that are one row. */
const joined = 2
/** Frames of a chunk: 60 s, which are whole blocks and windows of the models in use. */
const chunkFrames = 6000
/** A shorter sound has no two frames. */
const leastSamples = mel.hop
/** Constants of llama.cpp for the projector. */
const [projectorLayers, projectorEpsilon] = [2, 1e-12]

/** Frames of a sound, without an odd one at its end. */
const framesOf = (samples: number): number => {
  const frames = Math.floor(Math.max(samples, leastSamples) / mel.hop) + 1
  return frames - (frames % joined)
}

/**
 * Granite Speech: a conformer, whose rows attend to those of their block and to their distances. In its middle it guesses
 * letters (CTC), and goes on with its guess. Then a few queries look at each window of rows. After llama.cpp's tools/mtmd
 * (models/granite-speech.cpp, `mtmd_audio_preprocessor_granite_speech`), which reads a sound as one chunk, however long.
 */
export const graniteSpeech: AudioFamily = {
  types: ['granite_speech'],
  width: (metadata) => metadata.needTensor('a.proj_linear.weight').rows,

  open(metadata) {
    const kind: MelKind = { ...mel, bands: metadata.number('clip.audio.num_mel_bins') / joined }
    const width = metadata.number('clip.audio.embedding_length')
    const heads = metadata.number('clip.audio.attention.head_count')
    const layers = metadata.number('clip.audio.block_count')
    const epsilon = metadata.number('clip.audio.attention.layer_norm_epsilon')
    const features = featuresIn(metadata, layers)
    const windows = windowsIn(metadata)
    const { blocks, nearest } = blocksIn(metadata)

    const layer = <N>(graph: GraphBuilder<N>, x: N, index: number): N => {
      const name = `a.blk.${index}`
      const inner = metadata.needTensor(`${name}.conv_pw2.weight`).columns
      const kernel = metadata.needTensor(`${name}.conv_dw.weight`).columns
      return conformerLayer(graph, x, name, {
        ...{ epsilon, inner, kernel, moves: false },
        attention(y, part) {
          const q = linear(graph, y, part('attn_q'))
          const k = linear(graph, y, part('attn_k'))
          const v = linear(graph, y, part('attn_v'))
          const learned = graph.weight(part('attn_rel_pos_emb'))
          const distances = graph.takeRows(learned, 'distances of a block', () => nearest)
          return graph.blockAttention({ q, k, v, asked: q, distances }, heads, blocks, 1 / Math.sqrt(width / heads))
        },
      })
    }

    /** What each row says, in shares of letters, added to it. */
    const guessed = <N>(graph: GraphBuilder<N>, x: N): N => {
      const letters = graph.softmax(linear(graph, x, 'a.enc_ctc_out'))
      return graph.add(x, linear(graph, letters, 'a.enc_ctc_out_mid'))
    }

    const projected = <N>(graph: GraphBuilder<N>, x: N, columns: number): N => {
      // In the last window, rows of zeros are looked at too.
      const zeros = graph.table('silence', columns, () => new Float32Array(columns))
      const seen = graph.takeRows(graph.concatRows(x, zeros), 'rows of windows', ({ rows }) => windows.seen(rows))
      const learned = graph.takeRows(graph.weight('a.proj_query'), 'queries', ({ rows }) => windows.asked(rows))
      let queries = layerNorm(graph, learned, 'a.proj_norm', projectorEpsilon)
      const form = { heads: windows.heads, runs: windows.runs, epsilon: projectorEpsilon, activation: 'gelu' } as const
      for (let index = 0; index < projectorLayers; index++)
        queries = qFormerLayer(graph, queries, seen, `a.proj_blk.${index}`, form)
      return linear(graph, queries, 'a.proj_linear')
    }

    return {
      plan(samples) {
        const all = framesOf(samples)
        const chunks: AudioChunk[] = []
        for (let first = 0; first < all; first += chunkFrames) {
          const frames = Math.min(chunkFrames, all - first)
          const isLast = first + frames === all
          chunks.push({
            from: first * mel.hop,
            to: isLast ? samples : (first + frames) * mel.hop,
            ...{ first, frames, tokens: windows.asked(frames / joined).length },
          })
        }
        return { samples, name: String(all), layout: chunks }
      },

      *listen(samples) {
        const heard = new Float32Array(Math.max(samples.length, leastSamples))
        heard.set(samples)
        return inWhisperRange(yield* logMel(mirrored(heard, mel.frame / 2), kind))
      },

      prepare: ownFrames,

      grid: ({ frames }) => ({ rows: frames / joined, columns: 1 }),

      build<N>(graph: GraphBuilder<N>, { frames }: AudioChunk): N {
        let x = linear(graph, graph.input(frames / joined, joined * kind.bands), 'a.input_projection')
        const heard = features.includes(0) ? [x] : []
        for (let index = 0; index < layers; index++) {
          x = layer(graph, x, index)
          if (features.includes(index + 1)) heard.push(x)
          if (index + 1 === Math.floor(layers / 2)) x = guessed(graph, x)
        }
        const all = [...heard, x].reduce((before, next) => graph.concatColumns(before, next))
        return projected(graph, all, width * (heard.length + 1))
      },
    }
  },
}

/** The layers whose rows the projector sees beside those of the last; 0 are the rows before the first layer. */
function featuresIn(metadata: Metadata, layers: number): readonly number[] {
  const features = metadata.integers('clip.audio.feature_layer')
  if (features.some((layer) => layer < 0 || layer > layers))
    throw badModel(`The feature_layer of the audio file does not name some of its ${layers} layers.`)
  return features
}

/** A row sees all rows of its block. The file has distances to further ones too, of which `nearest` are taken. */
function blocksIn(metadata: Metadata) {
  const size = metadata.number('clip.audio.chunk_size')
  const most = metadata.number('clip.audio.max_pos_emb')
  if (size > most) throw badModel(`The audio file has distances of ${most} rows, but blocks of ${size}.`)
  const distances = 2 * size - 1
  const blocks: Blocks = {
    rows: ({ rows }) => rows,
    size: () => size,
    before: 0,
    distanceCount: () => distances,
    distance: (back) => back + size - 1,
  }
  return { blocks, nearest: Int32Array.from({ length: distances }, (_, at) => most - size + 1 + at) }
}

/** The windows of the projector, each of which becomes a few embeddings. */
function windowsIn(metadata: Metadata) {
  const size = metadata.number('clip.audio.projector.window_size')
  const asked = Math.floor(size / metadata.number('clip.audio.projector.downsample_rate'))
  const heads = metadata.number('clip.audio.projector.head_count')
  const count = (rows: number) => Math.ceil(rows / size)
  return {
    ...{ heads, runs: { q: asked, k: size } },
    /** The row in each place of each window, that after the last in the padding. */
    seen: (rows: number) => Int32Array.from({ length: count(rows) * size }, (_, at) => Math.min(at, rows)),
    /** The query in each place of each window. */
    asked: (rows: number) => Int32Array.from({ length: count(rows) * asked }, (_, at) => at % asked),
  }
}
