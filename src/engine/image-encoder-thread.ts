import { platform, setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import type { WireError } from '../children/index.ts'
import { type EncoderSettings, type ImagePlan, openImageEncoder, type Raster, type Tile } from '../encoders/index.ts'
import { countOutlived, giveBackMemory, openAffinity, openNative } from '../native/index.ts'
import { toWire } from './protocol.ts'

/** Encodes images on a thread of its own, so that no answer stops for an image. It takes one tile at a time. */
interface EncodeTask {
  /** Names the image and its plan. */
  name: string
  /** null if an earlier tile has brought the image, which the thread keeps scaled. */
  image: { rgb: Uint8Array; plan: ImagePlan } | null
  tile: Tile
  threads: number
}

/** A scaled image is kept until it is to be forgotten. */
export type ToEncoder = EncodeTask | { forget: string }

export interface EncoderStart {
  /** Path of the vision GGUF. */
  file: string
  settings: EncoderSettings
}

/**
 * The niceness of encoding. At 5 the thread has a quarter of a core that it shares with the decoder. At 0 the longest gap
 * of a running answer was 72 ms instead of 43. At 15, a thirtieth of a core, the gap was no shorter, and images took three
 * times as long on a busy machine.
 */
const encodePriority = 5

/** `threads` are the system's ids of all threads that compute for the encoder. */
export type EncodeResult =
  | { embeddings: Float32Array; ms: number }
  | { error: WireError }
  | { ready: true; runtime: EncoderSettings['runtime']; threads: readonly number[] }

const { file, settings }: EncoderStart = workerData

// On Linux every thread has a priority of its own, which the threads that it starts (ONNX Runtime's) inherit. Elsewhere
// the call would change the priority of the whole process.
if (platform() === 'linux') setPriority(encodePriority)

const answer = (result: EncodeResult, transfer: ArrayBuffer[] = []) => parentPort?.postMessage(result, transfer)

try {
  // Before any other library is loaded.
  openNative(settings.device ?? 'cpu')
  const affinity = openAffinity()
  const started = affinity?.startedFromNow() ?? (() => [])
  const encoder = await openImageEncoder(file, settings)
  const images = new Map<string, { scaled: readonly Raster[]; bytes: number }>()

  const scaledOf = ({ name, image }: EncodeTask): readonly Raster[] => {
    if (image === null) return images.get(name)?.scaled ?? []
    const { rgb, plan } = image
    const scaled = encoder.architecture.scale({ ...plan.original, rgb }, plan)
    images.set(name, { scaled, bytes: rgb.byteLength })
    return scaled
  }

  parentPort?.on('message', async (message: ToEncoder) => {
    if ('forget' in message) {
      const { bytes = 0 } = images.get(message.forget) ?? {}
      images.delete(message.forget)
      countOutlived(bytes)
      return
    }
    const start = performance.now()
    try {
      const embeddings = await encoder.encode(scaledOf(message), message.tile, message.threads)
      answer({ embeddings, ms: performance.now() - start }, [embeddings.buffer as ArrayBuffer])
    } catch (error) {
      answer({ error: toWire(error) })
    }
  })

  giveBackMemory()
  const { runtime } = encoder
  answer({ ready: true, runtime, threads: affinity === null ? [] : [affinity.current(), ...started()] })
} catch (error) {
  answer({ error: toWire(error) })
}
