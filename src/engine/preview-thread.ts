import { platform, setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import type { TaskResult } from '../children/index.ts'
import {
  type ImagePlan,
  needImageArchitecture,
  planWithin,
  type Raster,
  type Tile,
  tilesOf,
} from '../encoders/index.ts'
import { OrielError } from '../errors.ts'
import type { ImageHeader, ImageView } from './generation.ts'
import { toWire } from './protocol.ts'

/** Scales images as the encoder thread does, for people who want to see them. It takes one image at a time. */
export interface PreviewTask {
  image: Pick<ImageHeader, 'width' | 'height' | 'detail' | 'bounds'>
  rgb: Uint8Array
  /** Pixels that all views together may have. */
  mostPixels: number
}

export interface PreviewStart {
  /** Path of the vision GGUF. */
  file: string
}

export interface PreviewResult {
  views: readonly ImageView[]
}

/** The niceness of a preview: it is for looking, and answers come first. */
const previewPriority = 10

const { file }: PreviewStart = workerData
// Elsewhere the call would change the priority of the whole process.
if (platform() === 'linux') setPriority(previewPriority)
const opening = needImageArchitecture(file)
let last = Promise.resolve()

parentPort?.on('message', (task: PreviewTask) => {
  last = last.then(() => preview(task))
})

async function preview({ image, rgb, mostPixels }: PreviewTask): Promise<void> {
  try {
    const architecture = await opening
    const { width, height, detail, bounds } = image
    const plan = planWithin(architecture, { width, height }, detail, bounds)
    checkPixels(tilesOf(plan), mostPixels)
    const views = architecture.scale({ width, height, rgb }, plan).map((raster, index) => viewOf(raster, index, plan))
    // Images that need no scaling share their pixels.
    const buffers = new Set(views.map((view) => view.rgb.buffer as ArrayBuffer))
    parentPort?.postMessage({ views } satisfies TaskResult<PreviewResult>, [...buffers])
  } catch (error) {
    parentPort?.postMessage({ error: toWire(error) } satisfies TaskResult<PreviewResult>)
  }
}

const viewOf = ({ width, height, rgb }: Raster, index: number, plan: ImagePlan): ImageView => ({
  ...{ width, height, rgb },
  tiles: tilesOf(plan)
    .filter(({ image }) => image === index)
    .map(({ x, y, size, tokens }) => ({ x, y, ...size, tokens })),
})

function checkPixels(tiles: readonly Tile[], most: number): void {
  const pixels = tiles.reduce((sum, { size }) => sum + size.width * size.height, 0)
  if (pixels <= most) return
  const message = `The model would see more pixels of these images than one preview may have. Preview fewer images or pages at a time.`
  throw new OrielError('too_large', message, { code: 'preview_too_large' })
}
