import { parentPort, workerData } from 'node:worker_threads'
import { openEncoder, type PicturePlan } from '../vision/index.ts'

/** The thread that encodes pictures, so that a picture never stops a running answer. One at a time, as they come. */
export interface EncodeTask {
  rgb: Uint8Array
  plan: PicturePlan
  threads: number
}

export type EncodeResult = { embeddings: Float32Array; ms: number } | { error: string } | { ready: true }

const encoder = openEncoder(String(workerData))

const answer = (result: EncodeResult, transfer: ArrayBuffer[] = []) => parentPort?.postMessage(result, transfer)

parentPort?.on('message', ({ rgb, plan, threads }: EncodeTask) => {
  const start = performance.now()
  try {
    const embeddings = encoder.encode(rgb, plan, threads)
    answer({ embeddings, ms: performance.now() - start }, [embeddings.buffer as ArrayBuffer])
  } catch (error) {
    answer({ error: error instanceof Error ? error.message : String(error) })
  }
})

answer({ ready: true })
