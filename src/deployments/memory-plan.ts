import type { EngineConfig } from '../config.ts'
import { usualCacheBytes, usualCells } from '../engine/memory-shares.ts'
import { OrielError } from '../errors.ts'
import type { ModelCard } from '../models/index.ts'

/** The memory that a model is given, in bytes. */
export interface MemoryPlan {
  weights: number
  /** Of the vision encoder as it computes, which may be more than its file has. */
  vision: number
  context: number
  contextCells: number
  /** For embeddings of pictures that were seen. */
  cache: number
  /** For prompts' beginnings that the context has no room for. */
  prefixes: number
  /** All of it, and what an engine's process takes whatever the model. */
  total: number
}

/** What the process takes before it has a model, and what a step computes with. */
const rest = 250e6
/** The KV memory may take this share of all, where its size is ours to choose. */
const contextShare = 0.25
/** Bytes for each number in the KV memory, by 16-bit ones. */
const kvWidth = { f16: 1, q8_0: 34 / 64 } as const

/**
 * @param budget bytes that all models together may take
 * @param onGpu whether a GPU encodes pictures, with the numbers of the file
 * @throws OrielError `precondition_failed` with the numbers for a model that never fits
 */
export function planMemory(card: ModelCard, config: EngineConfig, budget: number, onGpu = false): MemoryPlan {
  const { decoderBytes: weights, visionBytes, visionParameters, bytesPerToken } = card.size
  const exact = config.visionPrecision === 'fp32' ? visionParameters * 4 : visionParameters
  const vision = config.visionRuntime === 'onnx' && !onGpu ? exact : visionBytes
  // Decoders without attention keep none.
  const bytesPerCell = Math.max(1, Math.ceil(bytesPerToken * kvWidth[config.kvType]))
  const room = Math.max(0, budget - rest - weights - vision)
  const contextCells =
    config.contextTokens || usualCells(card.contextTokens, bytesPerCell, Math.min(budget * contextShare, room))
  const context = contextCells * bytesPerCell
  const left = room - context
  const wanted = vision === 0 ? 0 : config.encoderCacheBytes || usualCacheBytes(budget)
  const cache = Math.max(1, Math.min(wanted, Math.floor(left / 2)))
  const prefixes = Math.max(1, Math.min(config.prefixCacheBytes || usualCacheBytes(budget), left - cache))
  // A byte for either cache is left at least.
  if (left < 2)
    throw new OrielError(
      'precondition_failed',
      `The model ${card.id} never fits: it takes ${sizeText(rest + weights + vision + context)} (weights ${sizeText(weights)}, vision ${sizeText(vision)}, ${contextCells} tokens of context ${sizeText(context)}), and all models together may take ${sizeText(budget)}.`,
      { code: 'model_too_large' },
    )
  const total = rest + weights + vision + context + cache + prefixes
  return { weights, vision, context, contextCells, cache, prefixes, total }
}

export const sizeText = (bytes: number): string =>
  bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`
