import { configOf } from '../../src/config.ts'
import { planMemory } from '../../src/deployments/index.ts'
import { entryOf } from '../../src/models/index.ts'

/**
 * Sizes of the models that recipes name: bytes of the decoder's file on the hub, weights of the vision encoder, and what the
 * maker's `config.json` says about the decoder's layers and the heads of its keys and values.
 */
const sizes = {
  'smolvlm-500m': { decoder: 0.437e9, vision: 0.098e9, layers: 32, heads: 5, headSize: 64 },
  'qwen3-vl-2b': { decoder: 1.83e9, vision: 0.407e9, layers: 28, heads: 8, headSize: 128 },
  'gemma-3-4b': { decoder: 2.49e9, vision: 0.42e9, layers: 34, heads: 4, headSize: 256 },
  'internvl3-8b': { decoder: 4.68e9, vision: 0.332e9, layers: 28, heads: 4, headSize: 128 },
  'qwen2.5-vl-7b': { decoder: 4.68e9, vision: 0.676e9, layers: 28, heads: 4, headSize: 128 },
  'pixtral-12b': { decoder: 7.48e9, vision: 0.435e9, layers: 40, heads: 8, headSize: 128 },
  'gemma-3-12b': { decoder: 7.3e9, vision: 0.42e9, layers: 48, heads: 8, headSize: 256 },
  'qwen2.5-vl-32b': { decoder: 19.85e9, vision: 0.689e9, layers: 64, heads: 8, headSize: 128 },
} as const

export const sizedModels = Object.keys(sizes) as (keyof typeof sizes)[]

/** GB that a model takes on a machine with plenty: what `oriel show` says once it is here. */
export function memoryOf(id: keyof typeof sizes): number {
  const { decoder, vision, layers, heads, headSize } = sizes[id]
  const size = {
    ...{ layers, decoderBytes: decoder, visionBytes: vision * 2, visionParameters: vision },
    bytesPerToken: layers * heads * headSize * 2 * 2,
  }
  const contextTokens = entryOf(id)?.contextTokens ?? 0
  return planMemory({ id, contextTokens, size }, configOf({}).engine, 256e9).total / 1e9
}
