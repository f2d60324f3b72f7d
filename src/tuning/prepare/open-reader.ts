import { type Config, configSchema } from '../../config.ts'
import { embeddedReader, type Reader } from '../../deployments/index.ts'
import { audioFamilies, imageFamilies } from '../../encoders/index.ts'
import type { Logger } from '../../log.ts'
import { createMedia } from '../../media/index.ts'
import { createLibrary } from '../../models/index.ts'
import type { TrainingConfig } from '../contract.ts'

/** What is read with which model. */
export type ReadingConfig = Pick<TrainingConfig, 'base' | 'chatTemplate' | 'memoryBytes' | 'threads' | 'reading'>

/** Others have the cores first, so that decoding an image may take longer than in a request. */
const patience = 30

/** How a server reads images, for its jobs. */
export const readingOf = ({ media, engine }: Config): TrainingConfig['reading'] => ({
  maxImages: media.maxImages,
  maxPixels: media.maxPixels,
  maxTotalPixels: media.maxTotalPixels,
  visionRuntime: engine.visionRuntime,
  visionPrecision: engine.visionPrecision,
  weightCacheBytes: engine.weightCacheBytes,
})

/**
 * Starts the base model of a job, to read its examples as the server reads requests.
 * @throws OrielError as `embeddedReader` does, and if the model's files cannot be used
 */
export async function openReader(
  { base, chatTemplate, memoryBytes, threads, reading }: ReadingConfig,
  log: Logger,
  signal: AbortSignal,
): Promise<Reader> {
  const { maxImages, maxPixels, maxTotalPixels, ...vision } = reading
  const config = configSchema.parse({ media: { maxImages, maxPixels, maxTotalPixels, decoders: 1 } })
  const library = createLibrary(config.models, { images: imageFamilies, audio: audioFamilies })
  const card = await library.find(base.decoder, base.projector ?? undefined)
  const decodeTimeoutMs = config.media.decodeTimeoutMs * patience
  const media = createMedia({ ...config.media, decodeTimeoutMs }, log)
  const options = { engine: { ...config.engine, ...vision, threads }, media, chatTemplate, memoryBytes, log }
  const reader = await embeddedReader({ ...card, id: base.id }, options, signal).catch(async (error: unknown) => {
    await media.close()
    throw error
  })
  return {
    ...reader,
    async close() {
      await reader.close()
      await media.close()
    },
  }
}
