import path from 'node:path'
import { badModel, unsupportedModel } from '../errors.ts'
import { headerOf, metadataOf } from '../gguf/index.ts'
import { joinFloats } from '../join-floats.ts'
import { calibrationPicture } from './calibration/pictures.ts'
import { type Encoder, type EncoderSettings, openEncoder } from './encoder.ts'
import { imageFamilies } from './families/index.ts'
import type { Half } from './graph/source.ts'
import { halfOf } from './halves.ts'
import { type ImageArchitecture, type ImagePipeline, type Tile, tilesOf } from './image-architecture.ts'
import type { Raster, Size } from './preprocess/resize.ts'

interface ImageEncoder extends Encoder {
  readonly architecture: ImageArchitecture
  /**
   * Encodes one tile. It blocks its thread, so run it on a separate thread.
   * @param scaled the result of the architecture's `scale`
   * @param threads cores that ggml may use; the threads of ONNX Runtime sleep while they wait and need no such limit
   * @returns `[tile.tokens, architecture.width]`
   */
  encode(scaled: readonly Raster[], tile: Tile, threads: number): Promise<Float32Array>
}

/**
 * Reads the header of a projector (mmproj). It needs no native code.
 * @returns null if the file has no vision encoder
 * @throws OrielError `invalid` if the file is no projector or the family of its vision encoder is not supported
 */
export async function openImageArchitecture(file: string): Promise<ImageArchitecture | null> {
  const metadata = metadataOf(await headerOf(file), path.basename(file))
  const name = halfOf(metadata, 'vision')
  if (name === null) return null
  const family = imageFamilies.find(({ types }) => types.includes(name))
  if (family === undefined) {
    const supported = imageFamilies.flatMap(({ types }) => types).join(', ')
    throw unsupportedModel(`Vision files of type ${name} are not supported. Supported types: ${supported}.`)
  }
  const width = family.width(metadata)
  const pipeline = family.open(metadata, width)
  return { name, width, framesPerTile: 1, ...pipeline, plan: planOf(pipeline) }
}

/** As the family plans, but a frame is one tile: at `detail: low` every image is. */
const planOf =
  (pipeline: ImagePipeline): ImagePipeline['plan'] =>
  (original, detail, bounds) => {
    const plan = pipeline.plan(original, detail, bounds)
    return bounds?.frame && tilesOf(plan).length > 1 ? pipeline.plan(original, 'low', bounds) : plan
  }

/**
 * Loads an image encoder. If a GPU has not enough memory for the weights, the CPU encodes.
 * @throws OrielError as `openImageArchitecture` does, `invalid` if the file has no vision encoder, and `internal` if there is
 * not enough memory for the weights
 */
export async function openImageEncoder(file: string, settings: EncoderSettings): Promise<ImageEncoder> {
  const architecture = await needImageArchitecture(file)
  const finisherOf: NonNullable<ImageArchitecture['finisher']> = (weights) =>
    architecture.finisher?.(weights) ?? ((embeddings) => embeddings)
  const { run, finisher, ...encoder } = await openEncoder(file, imageHalf(architecture), settings, finisherOf)
  return {
    architecture,
    ...encoder,
    async encode(scaled, tile, threads) {
      const encoded: Float32Array[] = []
      for (const part of tile.parts ?? [tile])
        encoded.push(await run(architecture.prepare(scaled, part), part, threads))
      return finisher(joinFloats(encoded), tile)
    },
  }
}

/** @throws OrielError as `openImageArchitecture` does, and `invalid` if the file has no vision encoder */
export async function needImageArchitecture(file: string): Promise<ImageArchitecture> {
  const architecture = await openImageArchitecture(file)
  if (architecture === null) throw badModel(`${path.basename(file)} has no vision encoder.`)
  return architecture
}

/** The size of the pictures of a calibration. At `detail: low` a tile is the whole of them in every family. */
const calibrated = { width: 448, height: 448 }

export function imageHalf(architecture: ImageArchitecture): Half<Tile> {
  const first = (size: Size) => {
    const plan = architecture.plan(size, 'low')
    const [tile] = tilesOf(plan)
    if (tile === undefined) throw new Error('an architecture without tiles')
    return { plan, tile }
  }
  const sizeOf = (tile: Tile): string => {
    const { rows, columns, frames = 1 } = architecture.grid(tile)
    return `${tile.size.width}x${tile.size.height} ${columns}x${rows}x${frames}`
  }
  return {
    modality: 'vision',
    example: first({ width: 64, height: 64 }).tile,
    sizeOf,
    grid: architecture.grid,
    build: architecture.build,
    sample(seed) {
      const { plan, tile } = first(calibrated)
      const scaled = architecture.scale(calibrationPicture(calibrated, seed), plan)
      return { part: tile, values: architecture.prepare(scaled, tile) }
    },
  }
}
