import { once } from 'node:events'
import { platform, setPriority } from 'node:os'
import { type MessagePort, parentPort } from 'node:worker_threads'
import type { WireError } from '../children/index.ts'
import {
  type AudioChunk,
  type Choice,
  type EncoderSettings,
  type Hearing,
  type ImagePlan,
  type Modality,
  openAudioEncoder,
  openImageEncoder,
  type Raster,
  type Spectrogram,
  type Tile,
} from '../encoders/index.ts'
import { countOutlived, giveBackMemory, openAffinity, openNative } from '../native/index.ts'
import type { Runtimes } from './generation.ts'
import { toWire } from './protocol.ts'

/** Encodes attachments on a thread of its own, so that no answer stops for one. It takes one part at a time. */
export type EncodeTask = ImageTask | AudioTask

interface ImageTask extends Task {
  kind: 'image'
  /** null if an earlier tile has brought the image, which the thread keeps scaled. */
  image: (Raster & { plan: ImagePlan }) | null
  tile: Tile
}

interface AudioTask extends Task {
  kind: 'audio'
  /** null if an earlier chunk has brought the sound, which the thread keeps. */
  samples: Float32Array | null
  chunk: AudioChunk
}

interface Task {
  /** Names the attachment and its plan. */
  name: string
  threads: number
}

/** What was prepared of an attachment is kept until it is to be forgotten. */
export type ToEncoder = EncodeTask | { forget: string } | { adopt: Choice; modality: Modality } | { close: true }

export interface EncoderStart {
  /** Path of the GGUF of the encoders. */
  file: string
  /** The halves of the file that the model uses. */
  modalities: readonly Modality[]
  settings: EncoderSettings
}

export interface EncoderThreadStart extends EncoderStart {
  /** In shared memory: the share of the weights that is loaded, 0 to 1. The thread that loads the decoder has no time for messages. */
  progress: Float32Array
}

/**
 * The niceness of encoding. At 5 the thread has a quarter of a core that it shares with the decoder. At 0 the longest gap
 * of a running answer was 72 ms instead of 43. At 15, a thirtieth of a core, the gap was no shorter, and images took three
 * times as long on a busy machine.
 */
const encodePriority = 5
/** A sound is heard for so long at once, in ms. Then others' parts may come between. */
const hearingMs = 50

/** Encoders that can be used from now on. */
export interface EncoderReady {
  /** In use for each half of the file. */
  runtimes: Runtimes
  /** The halves whose matrices have forms that are yet to be chosen. */
  uncalibrated: readonly Modality[]
  /** The system's ids of all threads that compute for the encoders. */
  threads: readonly number[]
}

export interface EncodedPart {
  /** null: the sound is longer than what is heard at once, and the same task is to be sent again. */
  embeddings: Float32Array | null
  /** Time that encoding took. */
  ms: number
  /** Time that its attachment took before: scaling an image, or hearing a sound. */
  preparingMs: number
}

export type EncodeResult = EncodedPart | { error: WireError } | { ready: EncoderReady }

// On Linux every thread has a priority of its own, which the threads that it starts (ONNX Runtime's) inherit. Elsewhere
// the call would change the priority of the whole process.
if (platform() === 'linux') setPriority(encodePriority)

const port = parentPort as MessagePort
const answer = (result: EncodeResult, transfer: ArrayBuffer[] = []) => port.postMessage(result, transfer)

const [{ file, modalities, settings, progress }] = (await once(port, 'message')) as [EncoderThreadStart]

const openers = { vision: openImageEncoder, audio: openAudioEncoder }
type Encoders = { [Half in Modality]?: Awaited<ReturnType<(typeof openers)[Half]>> }

try {
  // Before any other library is loaded.
  openNative(settings.device ?? 'cpu')
  const affinity = openAffinity()
  const threads = affinity?.named('encoder') ?? (() => [])
  const encoders: Encoders = {}
  const open = async (modality: Modality, more: Partial<EncoderSettings>): Promise<void> => {
    const all = { ...settings, ...more }
    if (modality === 'vision') encoders.vision = await openers.vision(file, all)
    else encoders.audio = await openers.audio(file, all)
  }
  for (const [index, modality] of modalities.entries())
    await open(modality, { onProgress: (share) => progress.fill((index + share) / modalities.length) })
  const need = <T>(encoder: T | undefined): T => {
    if (encoder === undefined) throw new Error('a part for an encoder that the model does not have')
    return encoder
  }

  const images = new Map<string, { scaled: readonly Raster[]; bytes: number }>()
  const sounds = new Map<string, Sound>()

  const scaledOf = ({ name, image }: ImageTask): readonly Raster[] => {
    if (image === null) return images.get(name)?.scaled ?? []
    const { plan, ...raster } = image
    const { architecture } = need(encoders.vision)
    const scaled = framesIn(raster).flatMap((frame) => architecture.scale(frame, plan))
    images.set(name, { scaled, bytes: raster.rgb.byteLength })
    return scaled
  }

  /** @returns null if it is yet to be heard on */
  const heardOf = ({ name, samples }: AudioTask): Spectrogram | null => {
    const { listen } = need(encoders.audio).architecture
    const sound = samples === null ? need(sounds.get(name)) : { hearing: listen(samples), bytes: samples.byteLength }
    sounds.set(name, sound)
    if ('heard' in sound) return sound.heard
    const heard = heardFor(hearingMs, sound.hearing)
    if (heard !== null) sounds.set(name, { heard, bytes: sound.bytes + heard.values.byteLength })
    return heard
  }

  const forget = (name: string): void => {
    const { bytes = 0 } = images.get(name) ?? sounds.get(name) ?? {}
    images.delete(name)
    sounds.delete(name)
    countOutlived(bytes)
  }

  /** Prepares the attachment if no earlier part did. @returns what encodes the part; null if there is more to prepare */
  const prepared = (task: EncodeTask): (() => Promise<Float32Array>) | null => {
    if (task.kind === 'image') {
      const scaled = scaledOf(task)
      return () => need(encoders.vision).encode(scaled, task.tile, task.threads)
    }
    const { architecture, encode } = need(encoders.audio)
    const heard = heardOf(task)
    if (heard === null) return null
    return async () => {
      const embeddings = await encode(heard, task.chunk, task.threads)
      return widened(embeddings, architecture.width, encoders.vision?.architecture.width ?? architecture.width)
    }
  }

  const encode = async (task: EncodeTask): Promise<void> => {
    try {
      const [began, embed, start] = [performance.now(), prepared(task), performance.now()]
      const embeddings = embed && (await embed())
      const ms = performance.now() - start
      answer({ embeddings, ms, preparingMs: start - began }, embeddings ? [embeddings.buffer as ArrayBuffer] : [])
    } catch (error) {
      answer({ error: toWire(error) })
    }
  }

  const ready = () => {
    giveBackMemory()
    const { vision, audio } = encoders
    answer({
      ready: {
        runtimes: { ...(vision && { vision: vision.runtime }), ...(audio && { audio: audio.runtime }) },
        uncalibrated: modalities.filter((modality) => encoders[modality]?.isUncalibrated),
        threads: threads(),
      },
    })
  }

  /** If it fails, as for want of memory, the encoder stays as it is. */
  const adopt = async (choice: Choice, modality: Modality): Promise<void> => {
    const before = encoders[modality]
    await open(modality, { choice }).catch(() => {})
    if (encoders[modality] === before) return
    await before?.close().catch(() => {})
    ready()
  }

  /** The thread ends. */
  const close = async (): Promise<void> => {
    for (const encoder of Object.values(encoders)) await encoder.close()
    port.close()
  }

  // One after the other: what comes after new forms is encoded with them.
  let last = Promise.resolve()
  port.on('message', (message: ToEncoder) => {
    last = last.then(() => {
      if ('forget' in message) return forget(message.forget)
      if ('close' in message) return close()
      return 'adopt' in message ? adopt(message.adopt, message.modality) : encode(message)
    })
  })
  progress.fill(1)
  ready()
} catch (error) {
  answer({ error: toWire(error) })
}

/** A sound that the thread keeps, and the bytes of what it was made from. */
type Sound = ({ heard: Spectrogram } | { hearing: Hearing }) & { bytes: number }

/** @returns null if there is more to hear */
function heardFor(mostMs: number, hearing: Hearing): Spectrogram | null {
  const start = performance.now()
  do {
    const step = hearing.next()
    if (step.done) return step.value
  } while (performance.now() - start < mostMs)
  return null
}

/** An image, or frames of a video whose rows follow each other. */
function framesIn({ width, height, rgb }: Raster): Raster[] {
  const bytes = width * height * 3
  const count = Math.floor(rgb.length / bytes)
  return Array.from({ length: count }, (_, at) => ({ width, height, rgb: rgb.subarray(at * bytes, (at + 1) * bytes) }))
}

/** Images may have parts for deepstack layers of the decoder, in which there is nothing of a sound. */
function widened(embeddings: Float32Array, from: number, to: number): Float32Array {
  if (from === to) return embeddings
  const rows = embeddings.length / from
  const wide = new Float32Array(rows * to)
  for (let row = 0; row < rows; row++) wide.set(embeddings.subarray(row * from, (row + 1) * from), row * to)
  return wide
}
