import type { Metadata } from '../gguf/index.ts'
import type { GraphBuilder, Grid } from './graph/builder.ts'

/** The samples of a second that every family hears. */
export const audioRate = 16000

/** How a sound is heard. It follows from its length alone, so it is known before the sound is decoded. */
export interface AudioPlan {
  /** The length of the sound, in samples. */
  readonly samples: number
  /** Distinguishes this plan from all other plans of the architecture. */
  readonly name: string
  /** What stands in the prompt for the sound: text with control tokens (marks), and chunks. */
  readonly layout: readonly (string | AudioChunk)[]
}

/** A stretch of a sound that is encoded by itself. */
export interface AudioChunk {
  /** The stretch in samples, from the first to the one before `to`. What is beyond the sound is silence. */
  readonly from: number
  readonly to: number
  /** The first row of the spectrogram that it hears, and how many. */
  readonly first: number
  readonly frames: number
  /** Embeddings of the chunk, which is also the number of its positions in the prompt. */
  readonly tokens: number
}

/** What the chunks of a sound are cut from: rows of `width` numbers, one after the other in time. */
export interface Spectrogram {
  readonly values: Float32Array
  readonly width: number
}

/**
 * A sound that is being heard. It yields after a stretch of rows, so that other work comes between: a long sound takes
 * seconds.
 */
export type Hearing = Generator<undefined, Spectrogram, undefined>

/** Hears the rest of a sound at once. */
export function heardAtOnce(hearing: Hearing): Spectrogram {
  for (;;) {
    const step = hearing.next()
    if (step.done) return step.value
  }
}

/** The way from the samples of a sound to embeddings, described once for every emitter. */
export interface AudioPipeline {
  /** @param samples the length of the sound, 1 at least */
  plan(samples: number): AudioPlan
  /** The spectrogram of a whole sound, once for all of its chunks. @param samples mono, `audioRate` a second, -1 to 1 */
  listen(samples: Float32Array): Hearing
  /** A chunk as the graph's input. */
  prepare(heard: Spectrogram, chunk: AudioChunk): Float32Array
  grid(chunk: AudioChunk): Grid
  /** The encoder's graph, from the values of `prepare` to embeddings: `[chunk.tokens, width]`. */
  build<N>(graph: GraphBuilder<N>, chunk: AudioChunk): N
}

/** An audio encoder as its file describes it, without its weights. */
export interface AudioArchitecture extends AudioPipeline {
  /** The family's name in the file, `clip.projector_type`. */
  readonly name: string
  /** Numbers in one embedding. */
  readonly width: number
  /** Samples of a second. */
  readonly rate: typeof audioRate
}

/** A family of audio encoders. Its file in `families/audio/` holds everything that is particular to the family. */
export interface AudioFamily {
  /** Its names in `clip.projector_type`. */
  readonly types: readonly string[]
  /** Numbers in one embedding. @throws OrielError `invalid` if the file has no such tensor */
  width(metadata: Metadata): number
  /** @throws OrielError `invalid` if the metadata is incomplete */
  open(metadata: Metadata): AudioPipeline
}

/** Samples of the longest sound that takes so many embeddings at most. */
export function longestSound({ plan }: Pick<AudioPipeline, 'plan'>, embeddings: number): number {
  const fits = (samples: number): boolean =>
    chunksOf(plan(samples)).reduce((sum, { tokens }) => sum + tokens, 0) <= embeddings
  let [low, high] = [0, audioRate]
  // A day, which no context holds.
  while (high < 86_400 * audioRate && fits(high)) [low, high] = [high, 2 * high]
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (fits(middle)) low = middle
    else high = middle
  }
  return low
}

export const chunksOf = ({ layout }: AudioPlan): AudioChunk[] =>
  layout.filter((part): part is AudioChunk => typeof part !== 'string')
