import { fileURLToPath } from 'node:url'
import { configSchema } from '../../../src/config.ts'
import type { TrainingConfig } from '../../../src/tuning/contract.ts'
import { readingOf } from '../../../src/tuning/prepare/index.ts'

export const pocketDecoder = fileURLToPath(new URL('../../../models/pocket/pocket.gguf', import.meta.url))

export const trainingConfig: TrainingConfig = {
  base: { id: 'pocket', decoder: pocketDecoder, projector: pocketDecoder.replace('pocket.gguf', 'mmproj-pocket.gguf') },
  warmStart: null,
  chatTemplate: null,
  epochs: 1,
  learningRate: 3e-3,
  warmupSteps: 0,
  rank: 4,
  alpha: 8,
  batchExamples: 4,
  batchTokens: null,
  maxTokens: 2048,
  earlyStop: false,
  trainProjector: false,
  seed: 7,
  memoryBytes: 1e9,
  threads: 1,
  reading: readingOf(configSchema.parse({})),
}
