import { outOfMemory } from '../errors.ts'
import { Batch, type Model, openNative } from '../native/index.ts'
import { type ContextSettings, contextParams, kvOf } from './context.ts'
import { checkMemory, checkVocabulary, cpuShare, type LoadSettings, loadWithin } from './load.ts'
import { openVocabulary, type Vocabulary } from './vocabulary.ts'

/** How the rows of a text become one embedding, as the file says. */
export interface EmbedderPlan {
  pooling: keyof typeof poolings
  /** Whether all rows of a text must be in one batch. Otherwise later batches continue it. */
  whole: boolean
}

/** A model whose tokens see later ones has no KV memory: its cells count the tokens of a batch. */
export interface EmbedderSettings extends LoadSettings, ContextSettings, EmbedderPlan {
  /** Maximum number of tokens of one text. */
  longest: number
  batchRows: number
}

/** A language model that embeds texts: a sequence of rows becomes one vector. */
export interface Embedder extends Pick<EmbedderSettings, 'whole' | 'longest' | 'cells' | 'sequences'> {
  readonly vocabulary: Vocabulary
  /** Numbers in one embedding. */
  readonly width: number
  readonly memory: { readonly weightsBytes: number; readonly kvBytes: number }
  /** Layers that a GPU computes, including the output layer. */
  readonly gpuLayers: number
  newBatch(): Batch
  /** @param threads of the next batches */
  setThreads(threads: number): void
  /** Runs a batch off the event loop. */
  run(batch: Batch): Promise<void>
  /** The embedding of a sequence whose last row was in the last batch `[width]`, of any length. */
  embedding(sequence: number): Float32Array
  /** Forgets a sequence: its id and its cells become free. */
  forget(sequence: number): void
  close(): void
}

/** `enum llama_pooling_type` */
const poolings = { mean: 1, cls: 2, last: 3 } as const

/**
 * Loads the GGUF of an embedding model.
 * @throws OrielError `invalid` for a file that llama.cpp cannot load, `internal` if it does not fit in memory
 */
export function openEmbedder(file: string, settings: EmbedderSettings): Embedder {
  const { llama, newThreadPool } = openNative(settings.gpu?.device)
  const { model, context, gpuLayers, memory } = loadWithin(file, settings, (model, layers) =>
    contextOf(model, settings, layers),
  )
  const pool = newThreadPool(settings.threads)
  pool?.attach(context)
  pool?.use(settings.threads, false)
  const kvMemory = llama.memory(context)
  const compute = kvMemory === null ? llama.encode : llama.decode
  const width = llama.pooledWidth(model)
  const { whole, sequences } = settings
  let { threads } = settings
  return {
    vocabulary: openVocabulary(llama, llama.vocab(model)),
    whole,
    // Positions that the model has not learned would be read beyond its table.
    longest: Math.min(settings.longest, llama.contextTrain(model)),
    cells: llama.contextSize(context),
    sequences,
    width,
    memory,
    gpuLayers,
    newBatch: () => new Batch(settings.batchRows, 0),
    setThreads(next) {
      pool?.use(next, false)
      if (next === threads) return
      llama.setThreads(context, next, next)
      threads = next
    },
    async run(batch) {
      const code = await compute(context, batch.native())
      if (code !== 0) throw new Error(`a batch of texts failed with code ${code}`)
    },
    embedding: (sequence) => llama.pooled(context, sequence, width),
    forget(sequence) {
      if (kvMemory !== null) llama.sequenceRemove(kvMemory, sequence, -1, -1)
    },
    close() {
      llama.freeContext(context)
      pool?.free()
      llama.freeModel(model)
    },
  }
}

/** Checks a model that was loaded, and makes its context. */
function contextOf(model: Model, settings: EmbedderSettings, gpuLayers: number) {
  const { llama } = openNative()
  checkVocabulary(model)
  const weightsBytes = Number(llama.modelSize(model))
  checkMemory(weightsBytes, 0, 'a context', cpuShare(settings.gpu, gpuLayers))
  const context = llama.initContext(model, {
    ...contextParams(settings, settings.batchRows),
    embeddings: true,
    pooling_type: poolings[settings.pooling],
  })
  if (context === null) throw outOfMemory(`There is not enough memory for texts of ${settings.longest} tokens.`)
  const kvBytes = llama.memory(context) === null ? 0 : kvOf(settings).kvBytes
  return { context, memory: { weightsBytes, kvBytes } }
}
