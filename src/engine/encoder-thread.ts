import { parentPort, workerData } from 'node:worker_threads'
import { type EncoderSettings, openEncoder, type PicturePlan } from '../vision/index.ts'
import { toWire, type WireError } from './protocol.ts'

/** The thread that encodes pictures, so that a picture never stops a running answer. One at a time, as they come. */
export interface EncodeTask {
  rgb: Uint8Array
  plan: PicturePlan
  threads: number
}

/** What the thread is started with. */
export interface EncoderStart {
  /** The vision GGUF. */
  file: string
  settings: EncoderSettings
}

export type EncodeResult = { embeddings: Float32Array; ms: number } | { error: WireError } | { ready: true }

const { file, settings }: EncoderStart = workerData
const encoder = await openEncoder(file, settings)

const answer = (result: EncodeResult, transfer: ArrayBuffer[] = []) => parentPort?.postMessage(result, transfer)

parentPort?.on('message', async ({ rgb, plan, threads }: EncodeTask) => {
  const start = performance.now()
  try {
    const embeddings = await encoder.encode(rgb, plan, threads)
    answer({ embeddings, ms: performance.now() - start }, [embeddings.buffer as ArrayBuffer])
  } catch (error) {
    answer({ error: toWire(error) })
  }
})

// The first run makes the graph's memory and its threads: it shall not be a person's first picture that pays for it.
const blank = { width: 64, height: 64 }
await encoder.encode(new Uint8Array(64 * 64 * 3), encoder.architecture.plan(blank, 'auto'), settings.threads)
answer({ ready: true })
