import { embeddedReader, type Reader } from '../../deployments/index.ts'
import { audioFamilies, imageFamilies } from '../../encoders/index.ts'
import { loadConfig } from '../../load-config.ts'
import type { Logger } from '../../log.ts'
import { createMedia } from '../../media/index.ts'
import { createLibrary } from '../../models/index.ts'
import type { TrainingConfig } from '../contract.ts'

/** Others have the cores first, so that decoding an image may take longer than in a request. */
const patience = 30

/**
 * Starts the base model of a job, with the settings of the server, to read its examples as it reads requests.
 * @throws OrielError as `embeddedReader` does, and if the model's files cannot be used
 */
export async function openReader(
  {
    base,
    chatTemplate,
    memoryBytes,
    threads,
  }: Pick<TrainingConfig, 'base' | 'chatTemplate' | 'memoryBytes' | 'threads'>,
  log: Logger,
  signal: AbortSignal,
): Promise<Reader> {
  const config = loadConfig()
  const library = createLibrary(config.models, { images: imageFamilies, audio: audioFamilies })
  const card = await library.find(base.decoder, base.projector ?? undefined)
  const { decodeTimeoutMs } = config.media
  const media = createMedia({ ...config.media, decoders: 1, decodeTimeoutMs: decodeTimeoutMs * patience }, log)
  const options = { engine: { ...config.engine, threads }, media, chatTemplate, memoryBytes, log }
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
