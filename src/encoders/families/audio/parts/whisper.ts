import type { Metadata } from '../../../../gguf/index.ts'
import type { AudioChunk, AudioPipeline } from '../../../audio-architecture.ts'
import { type GraphBuilder, linear } from '../../../graph/builder.ts'
import { exactGelu, transformer } from '../../../graph/transformer.ts'
import { inWhisperRange, logMel, type MelKind, whisperMel } from '../../../preprocess/mel.ts'
import { ownFrames } from './chunks.ts'

/** For encoders that are Whisper's with a projector behind it. */
interface Whisper {
  /** The part of the pipeline outside of the graph. */
  readonly outside: Omit<AudioPipeline, 'build'>
  /** Of norms. */
  readonly epsilon: number
  /** The rows of the tower: `[frames / 2, width]`, or half of that if it averages pairs. */
  heard<N>(graph: GraphBuilder<N>, chunk: AudioChunk): N
  /** Each `stack` rows in one. */
  stacked<N>(graph: GraphBuilder<N>, x: N): N
}

interface WhisperKind {
  /** Whether pairs of rows are averaged before the last norm. */
  averages?: boolean
  /** Rows that become one embedding. By default they stay. */
  stack?: number
  /** Embeddings that the projector adds to each chunk. */
  added?: number
  /** Text before and after the sound. */
  marks?: readonly [string, string]
}

/** Frames of a chunk: 30 s, which the tower always hears. */
const chunkFrames = 3000
const chunkSamples = chunkFrames * whisperMel.hop
/** The shortest sound, in samples: its beginning is mirrored. Silence follows a shorter one. */
const leastSamples = whisperMel.frame / 2 + 1

/** As many rows as there are: a stretch at the end that is shorter than a stack is not heard. */
const stackedRows = (rows: number, stack: number): number => Math.floor(rows / stack)

/**
 * Whisper's encoder over the whole spectrogram in chunks of 30 s, with 30 s of silence after it, so that every sound has a
 * chunk. After llama.cpp's tools/mtmd (models/whisper-enc.cpp, `mtmd_audio_preprocessor_whisper`).
 */
export function whisper(metadata: Metadata, kind: WhisperKind = {}): Whisper {
  const { averages = false, stack = 1, added = 0, marks } = kind
  const mel: MelKind = { ...whisperMel, bands: metadata.number('clip.audio.num_mel_bins') }
  const tower = transformer(metadata, { modality: 'audio', activation: exactGelu })
  const halvings = averages ? 4 : 2
  const tokens = stackedRows(chunkFrames / halvings, stack) + added

  return {
    epsilon: tower.epsilon,

    outside: {
      plan(samples) {
        const frames = Math.floor((Math.max(samples, leastSamples) + chunkSamples) / mel.hop) + 1
        const chunks = Array.from({ length: Math.floor(frames / chunkFrames) }, (_, index) => ({
          from: index * chunkSamples,
          to: (index + 1) * chunkSamples,
          first: index * chunkFrames,
          frames: chunkFrames,
          tokens,
        }))
        const layout = marks === undefined ? chunks : [marks[0], ...chunks, marks[1]].filter((part) => part !== '')
        return { samples, name: String(chunks.length), layout }
      },

      *listen(samples) {
        return inWhisperRange(yield* logMel(withSilence(samples), mel))
      },

      prepare: ownFrames,

      grid: ({ frames }) => ({ rows: frames, columns: 1 }),
    },

    heard(graph, { frames }) {
      const convolved = <N>(graph: GraphBuilder<N>, x: N, name: string, stride: number): N => {
        const bias = graph.joinRows(graph.weight(`${name}.bias`), tower.width)
        return graph.geluErf(graph.add(graph.convolveRows(x, graph.weight(`${name}.weight`), stride), bias))
      }
      const once = convolved(graph, graph.input(frames, mel.bands), 'a.conv1d.1', 1)
      const x = convolved(graph, once, 'a.conv1d.2', 2)
      const learned = graph.weight('a.position_embd.weight')
      const positions = graph.takeRows(learned, 'heard', ({ rows }) => first(Math.ceil(rows / 2)))
      const pairs = <N>(graph: GraphBuilder<N>, x: N): N => graph.averageParts(graph.joinRows(x, 2), 2)
      return tower.all(graph, graph.add(x, positions), averages ? pairs : undefined)
    },

    stacked(graph, x) {
      const rows = (all: number) => stackedRows(Math.floor(all / halvings), stack)
      return graph.joinRows(
        graph.takeRows(x, 'whole stacks', (grid) => first(rows(grid.rows) * stack)),
        stack,
      )
    },
  }
}

/** The rows of which each stack becomes one embedding. */
export const stackFactor = (metadata: Metadata): number => metadata.number('clip.audio.projector.stack_factor')

/** Two matrices with GELU between them. */
export const perceptron = <N>(graph: GraphBuilder<N>, x: N): N =>
  linear(graph, graph.geluErf(linear(graph, x, 'mm.a.mlp.1')), 'mm.a.mlp.2')

const first = (rows: number): Int32Array => Int32Array.from({ length: rows }, (_, row) => row)

/** The sound, mirrored at its beginning by half a frame, with 30 s of silence and half a frame after it. */
function withSilence(samples: Float32Array): Float32Array {
  const half = whisperMel.frame / 2
  const padded = new Float32Array(Math.max(samples.length, leastSamples) + chunkSamples + 2 * half)
  padded.set(samples, half)
  for (let at = 1; at <= half; at++) padded[half - at] = padded[half + at] as number
  return padded
}
