import type { EngineConfig } from '../../config.ts'
import type { EngineSettings } from '../../engine/index.ts'
import type { ModelCard } from '../../models/index.ts'
import { availableProcessors } from '../../processors.ts'
import type { MemoryPlan } from '../memory-plan.ts'

/** What the engine of a model loads, and how it runs within its memory. */
export function loadOptions({ id: name, decoder, projector }: ModelCard, engine: EngineConfig, plan: MemoryPlan) {
  const settings: EngineSettings = {
    ...engine,
    threads: engine.threads || availableProcessors(),
    contextCells: plan.contextCells,
    bytesPerCell: plan.bytesPerCell,
    maxSequences: plan.sequences.running,
    storedSequences: plan.sequences.stored,
    encoderCacheBytes: plan.cache,
    prefixCacheBytes: plan.prefixes,
    adapterBytes: plan.adapters,
    visionBytes: plan.vision,
  }
  return { name, decoder, projector, settings }
}
