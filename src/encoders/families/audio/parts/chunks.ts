import { joinFloats } from '../../../../join-floats.ts'
import type { AudioChunk, AudioPipeline } from '../../../audio-architecture.ts'

interface Chunks {
  /** Samples of a chunk. The last has as many as are left. */
  readonly samples: number
  /** Bands of the spectrogram. */
  readonly bands: number
  /** Text before and after the sound. By default there is none. */
  readonly marks?: readonly [string, string]
  /** Frames of a chunk of so many samples. */
  framesOf(samples: number): number
  /** Embeddings of so many frames. */
  tokensOf(frames: number): number
  /** The frames of a chunk, band by band, in stretches as `Hearing` has them. */
  hear(samples: Float32Array): Generator<undefined, Float32Array, undefined>
}

/** Chunks that are heard by themselves too: each has a spectrogram of its own, as if it were a whole sound. */
export function heardApart(kind: Chunks): Pick<AudioPipeline, 'plan' | 'listen' | 'prepare'> {
  const { samples: length, bands, marks, framesOf, tokensOf, hear } = kind
  const starts = (samples: number) => Array.from({ length: Math.ceil(samples / length) }, (_, index) => index * length)
  return {
    plan(samples) {
      const chunks: AudioChunk[] = []
      let first = 0
      for (const from of starts(samples)) {
        const to = Math.min(samples, from + length)
        const frames = framesOf(to - from)
        chunks.push({ from, to, first, frames, tokens: tokensOf(frames) })
        first += frames
      }
      const layout = marks === undefined ? chunks : [marks[0], ...chunks, marks[1]]
      return { samples, name: String(samples), layout }
    },

    *listen(samples) {
      const pieces: Float32Array[] = []
      for (const from of starts(samples.length)) pieces.push(yield* hear(samples.subarray(from, from + length)))
      return { values: joinFloats(pieces), width: bands }
    },

    prepare: ownFrames,
  }
}

/** The frames of a chunk, as they were heard. */
export const ownFrames: AudioPipeline['prepare'] = ({ values, width }, { first, frames }) =>
  values.subarray(first * width, (first + frames) * width)
