import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { type TensorPlan, type Value, writeGguf } from './gguf-file.ts'

/** The matrices of the built-in model's layers: columns and rows. */
const matrices = { attn_q: [192, 192], attn_v: [192, 192], ffn_down: [512, 192] } as const

export interface AdapterPlan {
  seed?: number
  rank?: number
  /** Standard deviation of its numbers. */
  deviation?: number
  /** In place of those that an adapter has. */
  metadata?: Readonly<Record<string, Value>>
  tensors?: (usual: TensorPlan[]) => TensorPlan[]
}

/**
 * Writes an adapter of random weights for the built-in model, which answers in another way with it.
 * @param folder of models
 * @returns the path of its file
 */
export function writeAdapter(
  folder: string,
  id: string,
  { seed = 1, rank = 8, deviation = 0.06, metadata = {}, tensors = (usual) => usual }: AdapterPlan = {},
): string {
  const inside = path.join(folder, 'adapters')
  mkdirSync(inside, { recursive: true })
  const file = path.join(inside, `${id}.gguf`)
  const usual = [0, 1, 2, 3].flatMap((layer) =>
    Object.entries(matrices).flatMap(([name, [columns, rows]]): TensorPlan[] => [
      { name: `blk.${layer}.${name}.weight.lora_a`, shape: [columns, rank], fill: { exact: deviation } },
      { name: `blk.${layer}.${name}.weight.lora_b`, shape: [rank, rows], fill: { exact: deviation } },
    ]),
  )
  writeGguf(
    file,
    {
      'general.type': { string: 'adapter' },
      'general.architecture': { string: 'llama' },
      'adapter.type': { string: 'lora' },
      'adapter.lora.alpha': { f32: 16 },
      ...metadata,
    },
    tensors(usual),
    seed,
  )
  return file
}
