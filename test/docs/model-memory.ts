import { planMemory } from '../../src/deployments/index.ts'
import { configOf } from '../../src/load-config.ts'
import { entryOf, estimatedSize } from '../../src/models/index.ts'

/** Bytes of the decoder's file on the hub, of the models that recipes name. */
const decoders = {
  'smolvlm-500m': 0.437e9,
  'qwen3-vl-2b': 1.83e9,
  'gemma-3-4b': 2.49e9,
  'internvl3-8b': 4.68e9,
  'qwen2.5-vl-7b': 4.68e9,
  'pixtral-12b': 7.48e9,
  'gemma-3-12b': 7.3e9,
  'qwen2.5-vl-32b': 19.85e9,
} as const

export const sizedModels = Object.keys(decoders) as (keyof typeof decoders)[]

/** GB that a model takes on a machine with plenty: what `oriel show` says once it is here. */
export function memoryOf(id: keyof typeof decoders, engine = configOf({}).engine): number {
  const entry = entryOf(id)
  if (entry === undefined) throw new Error(`the catalogue has no ${id}`)
  const size = { ...estimatedSize(entry), decoderBytes: decoders[id] }
  return planMemory({ ...entry, size }, engine, 256e9).total / 1e9
}
