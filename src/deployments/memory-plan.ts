import type { EngineConfig, MediaConfig } from '../config.ts'
import { weightsBytes } from '../engine/index.ts'
import { OrielError } from '../errors.ts'
import type { EmbeddingFacts, ModelCard } from '../models/index.ts'
import { bytesText } from '../sizes.ts'

/** The memory of a model, in bytes. It is decided only here. */
export interface MemoryPlan {
  weights: number
  /** The vision encoder in memory, which may be more than its file. */
  vision: number
  /** The KV memory, and the states of a hybrid decoder's sequences. */
  context: number
  contextCells: number
  /** Of keys and values, without the states of a hybrid decoder. */
  bytesPerCell: number
  sequences: { running: number; stored: number }
  /** What the longest sounds take that the context holds, until they are encoded. */
  sounds: number
  /** Cache of image embeddings. */
  cache: number
  /** Prefixes that are kept outside the KV memory. */
  prefixes: number
  /** The most that its adapters may take in addition. */
  adapters: number
  /** All of the above and the constant part of an engine process. */
  total: number
}

/** The engine process without a model, and the buffers of a step. */
const rest = 250e6
/** Maximum share of the budget for a KV memory whose size is not configured. */
const contextShare = 0.25
/** Bytes of a number in the KV memory, relative to 16 bits. */
const kvWidth = { f16: 1, q8_0: 34 / 64 } as const

/** Maximum number of cells that are chosen without configuration; more help few workloads. */
const mostCells = 16384

/**
 * Bytes for each sample of a sound: of the sample, of the silence around it, and of its share in a spectrogram, while one
 * sound is heard; and of another one's spectrogram, whose turn to be encoded it is.
 */
const bytesPerSample = 4 * Float32Array.BYTES_PER_ELEMENT

/** The settings that memory follows from. `maxSamples`: of all sounds of a request; left out: any number. */
export type PlannedConfig = EngineConfig & Partial<Pick<MediaConfig, 'maxSamples'>>

/** What the memory of a model follows from: its files say it, or the catalogue says about what. */
export type Planned = Pick<ModelCard, 'id' | 'contextTokens'> & {
  readonly size: Omit<ModelCard['size'], 'layers'>
  readonly embedding?: EmbeddingFacts | null
}

/**
 * Decides the memory of a model. A configured size of 0 is chosen here.
 * @param budget bytes for all models together
 * @param onGpu whether a GPU encodes images; its weights have the types of the file
 * @throws OrielError `precondition_failed`, with the numbers, for a model that never fits
 */
export function planMemory(card: Planned, config: PlannedConfig, budget: number, onGpu = false): MemoryPlan {
  if (card.embedding) return planEmbedding(card, card.embedding, config, budget)
  const { decoderBytes: weights, visionBytes, visionParameters: all, visionLayers: inLayers } = card.size
  const { bytesPerToken, bytesPerSequence, samplesPerToken } = card.size
  const inOnnx = weightsBytes(config.visionPrecision, { all, inLayers })
  const vision = config.visionRuntime === 'onnx' && !onGpu ? inOnnx : visionBytes
  const bytesPerCell = Math.ceil(bytesPerToken * kvWidth[config.kvType])
  const sequences = usualSequences(config.maxSequences, bytesPerSequence, usualCacheBytes(budget))
  const states = (sequences.running + sequences.stored) * bytesPerSequence
  const space = Math.max(0, budget - rest - weights - vision - states)
  // Sounds take as much as the context has room for.
  const share = bytesPerCell / Math.max(1, bytesPerCell + samplesPerToken * bytesPerSample)
  const contextCells =
    config.contextTokens || usualCells(card.contextTokens, bytesPerCell, Math.min(budget * contextShare, space * share))
  const context = contextCells * bytesPerCell + states
  const heard = Math.min(card.contextTokens, contextCells) * samplesPerToken
  const sounds = Math.ceil(Math.min(heard, config.maxSamples ?? heard) * bytesPerSample)
  const left = budget - rest - weights - vision - context - sounds
  const wanted = vision === 0 ? 0 : config.encoderCacheBytes || usualCacheBytes(budget)
  const cache = Math.max(1, Math.min(wanted, Math.floor(left / 2)))
  const prefixes = Math.max(1, Math.min(config.prefixCacheBytes || usualCacheBytes(budget), left - cache))
  const total = rest + weights + vision + context + sounds + cache + prefixes
  const adapters = usualCacheBytes(budget)
  const kept = { cache, prefixes, adapters }
  const plan = { weights, vision, context, contextCells, bytesPerCell, sequences, sounds, ...kept, total }
  // Each cache has at least one byte.
  if (left < 2) throw tooLarge(card, plan, budget)
  return plan
}

/** Maximum number of tokens of one text that are chosen without configuration, for a model that computes them in one step. */
const longestText = 8192
/** Of the attention mask of a step, in 32 bits and in 16. */
const bytesPerPair = 6

/** A model that embeds has no caches: what takes memory are the buffers of a step, and the KV of texts that take several. */
function planEmbedding(
  card: Planned,
  { whole, bytesPerRow }: EmbeddingFacts,
  config: EngineConfig,
  budget: number,
): MemoryPlan {
  const { decoderBytes: weights, bytesPerToken, bytesPerSequence } = card.size
  const bytesPerCell = Math.ceil(bytesPerToken * kvWidth[config.kvType])
  const states = config.maxSequences * bytesPerSequence
  const space = Math.min(budget * contextShare, Math.max(0, budget - rest - weights - states))
  const { contextTokens, chunkTokens } = config
  const wanted = Math.min(card.contextTokens, contextTokens || longestText)
  const bytesOf = (rows: number, cells: number) =>
    rows * (bytesPerRow + bytesPerPair * cells) + cells * bytesPerCell + states
  const cells = whole
    ? contextTokens
      ? wanted
      : Math.max(Math.min(wanted, 256), Math.min(wanted, rowsIn(space, bytesPerRow + bytesPerCell)))
    : contextTokens || usualCells(card.contextTokens, bytesPerCell, space)
  const context = bytesOf(whole ? Math.max(cells, chunkTokens) : chunkTokens, cells)
  const total = rest + weights + context
  const sequences = { running: config.maxSequences, stored: 0 }
  const plan = {
    weights,
    vision: 0,
    context,
    contextCells: cells,
    bytesPerCell,
    sequences,
    sounds: 0,
    cache: 0,
    prefixes: 0,
    adapters: 0,
    total,
  }
  if (total > budget) throw tooLarge(card, plan, budget)
  return plan
}

/** The largest number of rows whose buffers, which grow with its square, fit. */
const rowsIn = (space: number, bytesPerRow: number): number =>
  Math.floor((Math.sqrt(bytesPerRow ** 2 + 4 * bytesPerPair * space) - bytesPerRow) / (2 * bytesPerPair))

const tooLarge = ({ id }: Planned, plan: MemoryPlan, budget: number): OrielError =>
  new OrielError(
    'precondition_failed',
    `The model ${id} never fits: it takes ${memoryText(plan)}, and all models together may take ${bytesText(budget)}.`,
    { code: 'model_too_large' },
  )

/** The memory of a model for people. Its figure is that of `/health`, of `oriel show` and of errors. */
export function memoryText({ sounds, ...plan }: MemoryPlan): string {
  const { weights, vision, context, contextCells, cache, prefixes, total } = plan
  const parts = [
    `weights ${bytesText(weights)}`,
    `vision ${bytesText(vision)}`,
    `${contextCells} tokens of context ${bytesText(context)}`,
    ...(sounds > 0 ? [`sounds ${bytesText(sounds)}`] : []),
    `caches ${bytesText(cache + prefixes)}`,
    `process ${bytesText(rest)}`,
  ]
  return `${bytesText(total)} (${parts.join(', ')})`
}

/**
 * Cells of a KV memory whose size is not configured: four contexts of up to 4096 tokens, or one longer context, within
 * the bound and the space.
 * @param trained tokens of the model's own context
 * @param space bytes
 */
function usualCells(trained: number, bytesPerCell: number, space: number): number {
  const wanted = Math.min(Math.max(4 * Math.min(trained, 4096), Math.min(trained, mostCells)), mostCells)
  // Decoders without attention have no KV.
  return Math.max(256, Math.floor(Math.min(wanted, space / Math.max(1, bytesPerCell)) / 256) * 256)
}

/** Sequences that are kept for their prefix when their answer is complete. */
const mostStored = 64
/** With states that are large, and of these two in three run. */
const leastRunning = 4
const leastStored = 2

/**
 * Sequences that run at once, and that are kept for their prefix. Each has a state in a hybrid decoder, which takes
 * megabytes, so that there are fewer.
 * @param most running sequences
 * @param space bytes of all states
 */
function usualSequences(most: number, bytesEach: number, space: number): MemoryPlan['sequences'] {
  const all = bytesEach === 0 ? most + mostStored : Math.floor(space / bytesEach)
  const running = Math.min(most, Math.max(leastRunning, Math.floor((all * 2) / 3)))
  return { running, stored: Math.max(leastStored, Math.min(mostStored, all - running)) }
}

/** Bytes of each cache whose size is not configured. @param budget bytes for all models together */
const usualCacheBytes = (budget: number): number => Math.min(5e8, Math.floor(budget / 20))
