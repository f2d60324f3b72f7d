import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { openImageEncoder, tilesOf } from '../src/encoders/index.ts'
import { giveBackMemory, openNative } from '../src/native/index.ts'

/** What the process is told. */
export interface EncoderStart {
  /** Path of the vision GGUF. */
  file: string
  precision: 'fp32' | 'int8'
  threads: number
  cache: string
}

/** Memory of the process beyond that without an encoder, in bytes. Pages of files that are mapped count. */
export interface EncoderMemory {
  /** The most while it loaded. */
  peak: number
  /** What it keeps, after an image. */
  kept: number
}

const [{ file, precision, threads, cache }]: [EncoderStart] = (await once(process, 'message')) as [EncoderStart]
openNative('cpu')
giveBackMemory()
const before = memoryOf('VmRSS')
const settings = {
  runtime: 'onnx',
  precision,
  threads,
  cache: { folder: cache, mostBytes: Number.MAX_SAFE_INTEGER },
} as const
const { architecture, encode } = await openImageEncoder(file, settings)
const peak = memoryOf('VmHWM') - before
const image = { width: 512, height: 512, rgb: new Uint8Array(512 * 512 * 3) }
const plan = architecture.plan(image, 'low')
const [tile] = tilesOf(plan)
if (tile !== undefined) await encode(architecture.scale(image, plan), tile, threads)
giveBackMemory()
process.send?.({ peak, kept: memoryOf('VmRSS') - before } satisfies EncoderMemory)

/** A line of `/proc/self/status`, in bytes. */
function memoryOf(name: 'VmRSS' | 'VmHWM'): number {
  const [, kilobytes] = new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8')) ?? []
  return Number(kilobytes) * 1024
}
