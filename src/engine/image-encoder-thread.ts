import { once } from 'node:events'
import { platform, setPriority } from 'node:os'
import { type MessagePort, parentPort } from 'node:worker_threads'
import type { WireError } from '../children/index.ts'
import {
  type Choice,
  type EncoderSettings,
  type ImagePlan,
  openImageEncoder,
  type Raster,
  type Tile,
} from '../encoders/index.ts'
import { countOutlived, giveBackMemory, openAffinity, openNative } from '../native/index.ts'
import { toWire } from './protocol.ts'

/** Encodes images on a thread of its own, so that no answer stops for an image. It takes one tile at a time. */
interface EncodeTask {
  /** Names the image and its plan. */
  name: string
  /** null if an earlier tile has brought the image, which the thread keeps scaled. */
  image: (Raster & { plan: ImagePlan }) | null
  tile: Tile
  threads: number
}

/** A scaled image is kept until it is to be forgotten. */
export type ToEncoder = EncodeTask | { forget: string } | { adopt: Choice }

export interface EncoderStart {
  /** Path of the vision GGUF. */
  file: string
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

/** An encoder that can be used from now on. */
export interface EncoderReady {
  runtime: EncoderSettings['runtime']
  isUncalibrated: boolean
  /** The system's ids of all threads that compute for the encoder. */
  threads: readonly number[]
}

export type EncodeResult = { embeddings: Float32Array; ms: number } | { error: WireError } | { ready: EncoderReady }

// On Linux every thread has a priority of its own, which the threads that it starts (ONNX Runtime's) inherit. Elsewhere
// the call would change the priority of the whole process.
if (platform() === 'linux') setPriority(encodePriority)

const port = parentPort as MessagePort
const answer = (result: EncodeResult, transfer: ArrayBuffer[] = []) => port.postMessage(result, transfer)

const [{ file, settings, progress }] = (await once(port, 'message')) as [EncoderThreadStart]

try {
  // Before any other library is loaded.
  openNative(settings.device ?? 'cpu')
  const affinity = openAffinity()
  const threads = affinity?.named('image-encoder') ?? (() => [])
  let encoder = await openImageEncoder(file, { ...settings, onProgress: (share) => progress.fill(share) })
  const images = new Map<string, { scaled: readonly Raster[]; bytes: number }>()

  const scaledOf = ({ name, image }: EncodeTask): readonly Raster[] => {
    if (image === null) return images.get(name)?.scaled ?? []
    const { plan, ...raster } = image
    const scaled = encoder.architecture.scale(raster, plan)
    images.set(name, { scaled, bytes: raster.rgb.byteLength })
    return scaled
  }

  const forget = (name: string): void => {
    const { bytes = 0 } = images.get(name) ?? {}
    images.delete(name)
    countOutlived(bytes)
  }

  const encode = async (task: EncodeTask): Promise<void> => {
    const start = performance.now()
    try {
      const embeddings = await encoder.encode(scaledOf(task), task.tile, task.threads)
      answer({ embeddings, ms: performance.now() - start }, [embeddings.buffer as ArrayBuffer])
    } catch (error) {
      answer({ error: toWire(error) })
    }
  }

  const ready = () => {
    giveBackMemory()
    const { runtime, isUncalibrated } = encoder
    answer({ ready: { runtime, isUncalibrated, threads: threads() } })
  }

  /** If it fails, as for want of memory, the encoder stays as it is. */
  const adopt = async (choice: Choice): Promise<void> => {
    const other = await openImageEncoder(file, { ...settings, choice }).catch(() => null)
    if (other === null) return
    const before = encoder
    encoder = other
    await before.close().catch(() => {})
    ready()
  }

  // One after the other: what comes after new forms is encoded with them.
  let last = Promise.resolve()
  port.on('message', (message: ToEncoder) => {
    last = last.then(() => {
      if ('forget' in message) return forget(message.forget)
      return 'adopt' in message ? adopt(message.adopt) : encode(message)
    })
  })
  progress.fill(1)
  ready()
} catch (error) {
  answer({ error: toWire(error) })
}
