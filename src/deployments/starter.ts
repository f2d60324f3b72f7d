import type { Config } from '../config.ts'
import type { OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { ModelCard } from '../models/index.ts'
import type { Served } from './embedder.ts'
import type { MemoryBudget } from './memory-budget.ts'
import type { MemoryPlan } from './memory-plan.ts'

/** Makes a model answer or embed. @throws OrielError */
export type Starter = (card: ModelCard, start: Start) => Promise<Served>

interface Start {
  plan: MemoryPlan
  /** Receives the share of the model that is loaded, 0 to 1. */
  onProgress(share: number): void
  /** Whether the model's files are as the card says. To be asked before they are loaded again. @throws OrielError if they cannot be */
  isCurrent(): Promise<boolean>
  /**
   * To be called when the backend has ended by itself and will not answer again.
   * @param error why; undefined if the files have changed
   * @returns what its requests are told
   */
  onLost(error: unknown): OrielError
  /** To be called when the model takes attachments from now on. */
  onOpened(): void
  /** Receives the bytes of all adapters that are loaded, and of the encoders with one. */
  onAdapters(bytes: number): void
  /** To be called when it cannot take attachments, though it answers texts. */
  onUnopened(error: OrielError): void
  /** Ends the start. */
  signal: AbortSignal
}

export interface SharedServices {
  budget: MemoryBudget
  start: Starter
  /** Reads the files of a model again. @throws OrielError if they cannot be loaded */
  reread(card: ModelCard): Promise<ModelCard>
  config: Config['loading']
  log: Logger
}
