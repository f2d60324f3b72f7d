import type { Config, Prices } from '../config.ts'
import { type Device, type Engine, startEngine } from '../engine/index.ts'
import type { Logger } from '../log.ts'
import type { ModelCard } from '../models/index.ts'
import { availableProcessors } from '../processors.ts'
import type { MemoryPlan } from './memory-plan.ts'

export type {
  AnswerToken,
  GenerateEvent,
  GenerateRequest,
  PromptCount,
  PromptPiece,
  PromptToken,
  Sampling,
  Timings,
} from '../engine/index.ts'

/** Something that answers for one model: an engine of our own, or a server elsewhere. */
export interface Backend extends Engine {
  readonly card: ModelCard
  readonly prices: Prices
}

/** What a start is told, and whom it tells. */
interface Start {
  plan: MemoryPlan
  /** Told the share of the model that is loaded: 0 to 1. */
  onProgress(share: number): void
  /** Ends the start. */
  signal: AbortSignal
}

/** Makes a model answer. @throws OrielError */
export type Starter = (card: ModelCard, start: Start) => Promise<Backend>

/**
 * Starts models inside this server, each in a process of its own.
 * @returns what throws as `startEngine` does
 */
export function embedded({ engine, prices }: Pick<Config, 'engine' | 'prices'>, device: Device, log: Logger): Starter {
  return async (card, { plan, onProgress, signal }) => {
    const { id: name, decoder, projector, size } = card
    const gpu = { device, layers: size.layers, bytes: plan.weights + plan.context, reserved: plan.vision }
    const decoderShare = size.decoderBytes / (size.decoderBytes + size.visionBytes)
    const started = await startEngine(
      {
        name,
        decoder,
        projector,
        settings: {
          ...engine,
          threads: engine.threads || availableProcessors(),
          contextCells: plan.contextCells,
          encoderCacheBytes: plan.cache,
          prefixCacheBytes: plan.prefixes,
        },
        ...(device === 'cpu' ? {} : { gpu }),
        log,
        onProgress: (share) => onProgress(share * decoderShare),
      },
      signal,
    )
    return {
      card,
      prices,
      model: started.model,
      generate: (request, signal) => started.generate(request, signal),
      count: (prompt) => started.count(prompt),
      state: () => started.state(),
      close: () => started.close(),
    }
  }
}
