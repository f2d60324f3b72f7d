import { type Embedder, openEmbedder } from '../language/index.ts'
import { dieWithParent, openNative } from '../native/index.ts'
import { Cores } from './cores.ts'
import type { EmbeddingParts } from './embeddings.ts'
import { dropEncoder } from './encoder.ts'
import type { EngineModel } from './generation.ts'
import type { LoadOptions } from './protocol.ts'

/** A loaded model that embeds: its parts for the scheduler, and its description for the parent. */
export interface LoadedEmbedder extends Pick<EmbeddingParts, 'embedder' | 'cores'> {
  model: EngineModel
}

/**
 * Loads the file of a model that embeds into this process.
 * @param onProgress called with the share of the weights that is loaded, 0 to 1
 * @throws OrielError `invalid` for a file that cannot be loaded, `internal` if it does not fit in memory
 */
export async function loadEmbedder(
  { decoder: file, name, settings, gpu }: LoadOptions,
  plan: Required<LoadOptions>['embedding'],
  onProgress: (share: number) => void,
): Promise<LoadedEmbedder> {
  dropEncoder()
  openNative(gpu?.device)
  dieWithParent()
  const cores = new Cores(settings.threads)
  const { contextCells: cells, bytesPerCell, chunkTokens } = settings
  const embedder = openEmbedder(file, {
    ...plan,
    longest: cells,
    cells: Math.max(cells, chunkTokens),
    bytesPerCell,
    sequences: settings.maxSequences,
    batchRows: plan.whole ? Math.max(cells, chunkTokens) : chunkTokens,
    threads: cores.all,
    kvType: settings.kvType,
    flashAttention: settings.flashAttention,
    ...(gpu === undefined ? {} : { gpu }),
    onProgress,
  })
  await warmUp(embedder)
  const { vocabulary } = embedder
  const model: EngineModel = {
    name,
    contextTokens: embedder.longest,
    vocabulary: vocabulary.size,
    inputs: { image: null, audio: null },
    memory: { ...embedder.memory, encodersBytes: 0 },
    gpuLayers: embedder.gpuLayers,
    chatTemplate: null,
    bosToken: vocabulary.bos,
    eosToken: vocabulary.eos,
    controlTokens: vocabulary.controlTokens,
    endTokens: vocabulary.endTokens,
  }
  return { embedder, cores, model }
}

/** The first step brings all weights into memory. */
async function warmUp(embedder: Embedder): Promise<void> {
  const batch = embedder.newBatch()
  batch.addToken(0, 0, 0, true)
  await embedder.run(batch)
  embedder.forget(0)
}
