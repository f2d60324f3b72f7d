import path from 'node:path'
import { badModel, unsupportedModel } from '../errors.ts'
import { headerOf, metadataOf } from '../gguf/index.ts'
import {
  type AudioArchitecture,
  type AudioChunk,
  audioRate,
  chunksOf,
  heardAtOnce,
  type Spectrogram,
} from './audio-architecture.ts'
import { calibrationSound } from './calibration/sounds.ts'
import { type Encoder, type EncoderSettings, openEncoder } from './encoder.ts'
import { audioFamilies } from './families/audio/index.ts'
import type { Half } from './graph/source.ts'
import { halfOf } from './halves.ts'

interface AudioEncoder extends Encoder {
  readonly architecture: AudioArchitecture
  /**
   * Encodes one chunk. It blocks its thread, so run it on a separate thread.
   * @param heard what the architecture's `listen` returns in the end
   * @param threads cores that ggml may use; the threads of ONNX Runtime sleep while they wait and need no such limit
   * @returns `[chunk.tokens, architecture.width]`
   */
  encode(heard: Spectrogram, chunk: AudioChunk, threads: number): Promise<Float32Array>
}

/**
 * The audio half that llama.cpp's converter writes into the files of Gemma 3n. llama.cpp has its name and no code for it, so
 * these files have no audio encoder.
 */
const unused = 'gemma3na'

/**
 * Reads the header of a projector (mmproj). It needs no native code.
 * @returns null if the file has no audio encoder
 * @throws OrielError `invalid` if the file is no projector or the family of its audio encoder is not supported
 */
export async function openAudioArchitecture(file: string): Promise<AudioArchitecture | null> {
  const metadata = metadataOf(await headerOf(file), path.basename(file))
  const name = halfOf(metadata, 'audio')
  if (name === null || name === unused) return null
  const family = audioFamilies.find(({ types }) => types.includes(name))
  if (family === undefined) {
    const supported = audioFamilies.flatMap(({ types }) => types).join(', ')
    throw unsupportedModel(`Audio encoders of type ${name} are not supported. Supported types: ${supported}.`)
  }
  return { name, width: family.width(metadata), rate: audioRate, ...family.open(metadata) }
}

/**
 * Loads an audio encoder. If a GPU has not enough memory for the weights, the CPU encodes.
 * @throws OrielError as `openAudioArchitecture` does, `invalid` if the file has no audio encoder, and `internal` if there is
 * not enough memory for the weights
 */
export async function openAudioEncoder(file: string, settings: EncoderSettings): Promise<AudioEncoder> {
  const architecture = await needAudioArchitecture(file)
  const { run, finisher: _, ...encoder } = await openEncoder(file, audioHalf(architecture), settings, () => null)
  return {
    architecture,
    ...encoder,
    encode: (heard, chunk, threads) => run(architecture.prepare(heard, chunk), chunk, threads),
  }
}

/** @throws OrielError as `openAudioArchitecture` does, and `invalid` if the file has no audio encoder */
export async function needAudioArchitecture(file: string): Promise<AudioArchitecture> {
  const architecture = await openAudioArchitecture(file)
  if (architecture === null) throw badModel(`${path.basename(file)} has no audio encoder.`)
  return architecture
}

/** Frames of a calibration, 8 s in most families. More would take longer and say the same. */
const calibrated = 800

export function audioHalf(architecture: AudioArchitecture): Half<AudioChunk> {
  const [chunk] = chunksOf(architecture.plan(10 * audioRate))
  if (chunk === undefined) throw new Error('an architecture without chunks')
  const example = { ...chunk, frames: Math.min(chunk.frames, calibrated) }
  return {
    modality: 'audio',
    example,
    sizeOf: ({ frames }) => String(frames),
    grid: architecture.grid,
    build: architecture.build,
    sample(seed) {
      const heard = heardAtOnce(architecture.listen(calibrationSound(10 * audioRate, seed)))
      return { part: example, values: architecture.prepare(heard, example) }
    },
  }
}
