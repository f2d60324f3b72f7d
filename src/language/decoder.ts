import { outOfMemory, unsupportedModel } from '../errors.ts'
import { Batch, Candidates, type Model, openNative } from '../native/index.ts'
import type { Slices } from '../slices.ts'
import { type Adapter, openAdapters, type UsedAdapter } from './adapters.ts'
import { type ContextSettings, contextParams, kvOf } from './context.ts'
import { createSampler } from './create-sampler.ts'
import { openGrammars } from './grammar/grammars.ts'
import { checkMemory, checkVocabulary, cpuShare, type LoadSettings, loadWithin } from './load.ts'
import { fastestRows } from './query-tile.ts'
import type { SamplerSettings, TokenSampler, TokenSearch } from './sampler.ts'
import { openTokenEmbeddings } from './token-embeddings.ts'
import { openVocabulary, type Vocabulary } from './vocabulary.ts'

export interface DecoderSettings extends LoadSettings, ContextSettings {
  batchRows: number
}

/** A language model with one KV memory that all its sequences share. */
export interface Decoder {
  readonly vocabulary: Vocabulary
  readonly name: string | null
  readonly chatTemplate: string | null
  /** Maximum number of tokens of one sequence. */
  readonly contextTokens: number
  /** Cells of KV memory, for all sequences together. */
  readonly cells: number
  /** Numbers in one embedding. */
  readonly width: number
  /** Whether positions have rows and columns (M-RoPE). */
  readonly gridPositions: boolean
  readonly memory: { readonly weightsBytes: number; readonly kvBytes: number }
  /** Layers that a GPU computes, including the output layer. */
  readonly gpuLayers: number
  readonly batchRows: number
  /**
   * @param rows of a prompt's end, which has `cells` with them
   * @returns the number of rows that takes least time to compute: more than `rows` if their attention is faster together
   */
  fastestRows(rows: number, cells: number): number
  /**
   * Whether a sequence has a state beside its KV, which is of its end only. A part of a sequence can be shared if the state
   * at its end was saved.
   */
  readonly stateful: boolean
  newTokenBatch(): Batch
  newEmbeddingBatch(): Batch
  /** The embedding of a token `[width]`, for batches with tokens and embeddings; null if they cannot be in one batch. */
  readonly tokenEmbedding: ((token: number) => Float32Array) | null
  /**
   * Runs a batch off the event loop.
   * @param mutual whether the rows of a sequence attend to each other in both directions
   * @param adapter what all rows are computed with; null: the model alone. A change takes some ms
   * @returns false if the KV memory has no space for the batch; nothing has changed then
   */
  decode(batch: Batch, mutual?: boolean, adapter?: UsedAdapter | null): Promise<boolean>
  /** Loads an adapter off the event loop. Not to be called during a decode. @throws OrielError `precondition_failed` */
  loadAdapter(file: string): Promise<Adapter>
  /** Not to be called during a decode. No sequence may need it any more. */
  freeAdapter(adapter: Adapter): void
  /**
   * @param cores number of cores for the next decodes
   * @param beside whether an image encoder has the other cores
   */
  setThreads(cores: number, beside: boolean): void
  /** Logits of a row of the last batch `[vocabulary]`: a view that is valid until the next decode. */
  logits(row: number): Float32Array
  /** @returns, and @throws OrielError, as `TokenSampler.sample` does */
  sample(sampler: TokenSampler, row: number): number | null | TokenSearch
  /** @throws OrielError `invalid`, code `invalid_grammar`, param `grammar` */
  newSampler(settings: SamplerSettings): TokenSampler
  /** Reads a grammar in slices of a few ms, so that a new sampler need not. @throws OrielError as `newSampler` does */
  readGrammar(settings: Pick<SamplerSettings, 'grammar' | 'grammarAfter'>): Slices<void>
  /** Shares the cells of `source` before `time` with the empty sequence `target`, in place. */
  share(source: number, target: number, time: number): void
  /** Bytes that `save` would copy. */
  savedBytes(sequence: number): number
  /** A copy of a sequence's KV, and of its state if it has one. */
  save(sequence: number): Uint8Array
  /** Restores a copy from `save` into an empty sequence. @returns false if there is no space */
  restore(sequence: number, state: Uint8Array): boolean
  /** Bytes of a sequence's state. */
  stateBytes(sequence: number): number
  /** A copy of a sequence's state without its KV, made off the event loop. Not to be called during a decode. */
  saveState(sequence: number): Promise<Uint8Array>
  /** Gives a sequence, whose KV ends there, a state from `saveState`. */
  restoreState(sequence: number, state: Uint8Array): void
  /** Forgets the cells of a sequence at `time` or later. A state must be of an earlier time already. */
  truncate(sequence: number, time: number): void
  /** Forgets a sequence. Cells that no other sequence shares become free. */
  forget(sequence: number): void
  close(): void
}

/**
 * Loads a decoder GGUF.
 * @throws OrielError `invalid` for a file that llama.cpp cannot load, `internal` if it does not fit in memory
 */
export function openDecoder(file: string, settings: DecoderSettings): Decoder {
  const { llama, newThreadPool } = openNative(settings.gpu?.device)
  const { model, context, kvMemory, gpuLayers, memory } = loadWithin(file, settings, (model, layers) =>
    contextOf(model, settings, layers),
  )
  const trained = llama.contextTrain(model)
  const pool = newThreadPool(settings.threads)
  pool?.attach(context)
  pool?.use(settings.threads, false)
  const vocab = llama.vocab(model)
  const vocabulary = openVocabulary(llama, vocab)
  const grammars = openGrammars(vocabulary)
  const adapters = openAdapters(llama, model, context)
  const candidates = new Candidates(vocabulary.size)
  const width = llama.embeddingWidth(model)
  const gridPositions = llama.hasGridPositions(model)
  const tokenEmbeddings = openTokenEmbeddings(file, llama.metadata(model, 'general.architecture'), width)
  // llama.cpp limits a batch to the cells of the context.
  const batchRows = Math.min(settings.batchRows, llama.batchSize(context))
  const work = llama.rowWork(model)
  const byTiles = gpuLayers === 0 && settings.flashAttention
  const stateful = llama.isHybrid(model)
  let { threads } = settings
  let causal = true

  return {
    vocabulary,
    name: llama.metadata(model, 'general.name'),
    chatTemplate: llama.chatTemplate(model, null),
    contextTokens: Math.min(trained, llama.contextSize(context)),
    cells: llama.contextSize(context),
    width,
    gridPositions,
    memory,
    gpuLayers,
    stateful,
    batchRows,
    fastestRows: (rows, cells) => (byTiles && !stateful ? Math.min(batchRows, fastestRows(work, rows, cells)) : rows),
    newTokenBatch: () => new Batch(batchRows, 0),
    newEmbeddingBatch: () => new Batch(batchRows, width, gridPositions),
    tokenEmbedding: tokenEmbeddings?.of ?? null,
    async decode(batch, mutual = false, adapter = null) {
      adapters.use(adapter)
      // llama.cpp logs every call, even if nothing changes.
      if (causal === mutual) llama.setCausal(context, !mutual)
      causal = !mutual
      const code = await llama.decode(context, batch.native())
      if (code > 1 || code < 0) throw new Error(`llama_decode failed with code ${code}`)
      return code === 0
    },
    loadAdapter: (file) => adapters.load(file),
    freeAdapter: (adapter) => adapters.free(adapter),
    setThreads(cores, beside) {
      pool?.use(cores, beside)
      if (cores === threads) return
      llama.setThreads(context, cores, cores)
      threads = cores
    },
    logits: (row) => llama.logits(context, row, vocabulary.size),
    sample: (sampler, row) => sampler.sample(context, row, () => llama.logits(context, row, vocabulary.size)),
    newSampler: (sampling) => createSampler(llama, vocab, sampling, grammars, candidates),
    *readGrammar({ grammar, grammarAfter = null }) {
      if (grammar !== null) yield* grammars.read(grammar, grammarAfter)
    },
    share: (source, target, time) => llama.sequenceCopy(kvMemory, source, target, 0, time),
    savedBytes: (sequence) => llama.stateSize(context, sequence),
    save(sequence) {
      const state = new Uint8Array(llama.stateSize(context, sequence))
      const bytes = llama.saveState(context, state, state.length, sequence)
      if (bytes !== state.length) throw new Error('a sequence could not be copied')
      return state
    },
    restore: (sequence, state) => llama.restoreState(context, state, state.length, sequence) > 0,
    stateBytes: (sequence) => llama.endSize(context, sequence),
    saveState: (sequence) => llama.saveEnd(context, sequence),
    restoreState(sequence, state) {
      if (llama.restoreEnd(context, state, sequence) !== state.length)
        throw new Error('the state of a sequence could not be restored')
    },
    truncate: (sequence, time) => void llama.sequenceRemove(kvMemory, sequence, time, -1),
    forget: (sequence) => void llama.sequenceRemove(kvMemory, sequence, -1, -1),
    close() {
      tokenEmbeddings?.close()
      candidates.free()
      llama.freeContext(context)
      pool?.free()
      llama.freeModel(model)
    },
  }
}

/** Checks a model that was loaded, and makes its context. */
function contextOf(model: Model, settings: DecoderSettings, gpuLayers: number) {
  const { llama } = openNative()
  if (llama.hasEncoder(model) || (llama.isRecurrent(model) && !llama.isHybrid(model)))
    throw unsupportedModel('Models with an encoder, or without attention, are not supported.')
  checkVocabulary(model)
  // llama.cpp ends the process if a batch cannot hold a row of each sequence.
  const rows = Math.max(settings.batchRows, settings.sequences)
  const { cells, kvBytes } = kvOf(settings)
  const memory = { weightsBytes: Number(llama.modelSize(model)), kvBytes }
  checkMemory(memory.weightsBytes, kvBytes, `a context of ${cells} tokens`, cpuShare(settings.gpu, gpuLayers))
  const context = llama.initContext(model, contextParams(settings, rows))
  if (context === null) throw outOfMemory(`There is not enough memory for a context of ${cells} tokens.`)
  const kvMemory = llama.memory(context)
  if (kvMemory === null) {
    llama.freeContext(context)
    throw unsupportedModel('This model produces embeddings of texts, not answers.')
  }
  return { context, kvMemory, memory }
}
