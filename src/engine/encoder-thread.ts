import { platform, setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import {
  type EncoderSettings,
  type ImagePlan,
  openImageEncoder,
  type Raster,
  type Tile,
  tilesOf,
} from '../encoders/index.ts'
import { countOutlived, giveBackMemory, openAffinity, openNative } from '../native/index.ts'
import { toWire, type WireError } from './protocol.ts'

/** The thread that encodes pictures, so that a picture never stops a running answer. One tile at a time, as they come. */
interface EncodeTask {
  /** Of the picture in its plan. */
  name: string
  /** null: it is here, scaled, of a tile before. */
  picture: { rgb: Uint8Array; plan: ImagePlan } | null
  tile: Tile
  threads: number
}

/** A scaled picture stays until it is to be forgotten. */
export type ToEncoder = EncodeTask | { forget: string }

/** What the thread is started with. */
export interface EncoderStart {
  /** The vision GGUF. */
  file: string
  settings: EncoderSettings
}

/**
 * A niceness: a thread's share of a core that others want too is a quarter. At 0 the longest gap of a running answer was
 * 72 ms instead of 43; at 15, a thirtieth, it was no better, and pictures took three times as long on a busy machine.
 */
const encodePriority = 5

/** When it is ready the thread tells the system's ids of all that compute with it. */
export type EncodeResult =
  | { embeddings: Float32Array; ms: number }
  | { error: WireError }
  | { ready: true; threads: readonly number[] }

const { file, settings }: EncoderStart = workerData

// A running answer's next token goes before a picture's next row. Linux has a priority for every thread, and threads that
// this one starts (ONNX Runtime's) have it too; elsewhere it would be the whole process's.
if (platform() === 'linux') setPriority(encodePriority)

const answer = (result: EncodeResult, transfer: ArrayBuffer[] = []) => parentPort?.postMessage(result, transfer)

try {
  // Before any other library is loaded.
  openNative(settings.device ?? 'cpu')
  const affinity = openAffinity()
  const started = affinity?.startedFromNow() ?? (() => [])
  const encoder = await openImageEncoder(file, settings)
  const pictures = new Map<string, { scaled: readonly Raster[]; bytes: number }>()

  const scaledOf = ({ name, picture }: EncodeTask): readonly Raster[] => {
    if (picture === null) return pictures.get(name)?.scaled ?? []
    const { rgb, plan } = picture
    const scaled = encoder.architecture.scale({ ...plan.original, rgb }, plan)
    pictures.set(name, { scaled, bytes: rgb.byteLength })
    return scaled
  }

  parentPort?.on('message', async (message: ToEncoder) => {
    if ('forget' in message) {
      const { bytes = 0 } = pictures.get(message.forget) ?? {}
      pictures.delete(message.forget)
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

  // The first run makes the graph's memory and its threads: it shall not be a person's first picture that pays for it.
  const blank = { width: 64, height: 64, rgb: new Uint8Array(64 * 64 * 3) }
  const plan = encoder.architecture.plan(blank, 'low')
  const [tile] = tilesOf(plan)
  if (tile !== undefined) await encoder.encode(encoder.architecture.scale(blank, plan), tile, settings.threads)
  giveBackMemory()
  answer({ ready: true, threads: affinity === null ? [] : [affinity.current(), ...started()] })
} catch (error) {
  answer({ error: toWire(error) })
}
