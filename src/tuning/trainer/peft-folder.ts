import { closeSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { peftNames } from '../../models/index.ts'
import type { Adapter } from './adapter.ts'
import { throughMatrix } from './projector.ts'
import type { NamedModule } from './session.ts'

/** What `adapter_config.json` says. */
export interface AdapterFacts {
  /** Name of the base model. */
  readonly base: string
  readonly rank: number
  readonly alpha: number
  /** What transformers calls the decoder of a model that sees; null: it is the whole model. */
  readonly decoder: string | null
}

/**
 * Writes an adapter in the format of PEFT, whose rows of queries and keys have the order of transformers.
 * @param folder replaced as a whole, so that nobody sees half of it
 * @param parameters all numbers of the adapter
 */
export function writePeftFolder(
  folder: string,
  modules: readonly NamedModule[],
  adapter: Adapter,
  parameters: Float32Array,
  { base, rank, alpha, decoder }: AdapterFacts,
): void {
  const unfinished = `${folder}.new`
  rmSync(unfinished, { recursive: true, force: true })
  mkdirSync(unfinished, { recursive: true })
  const model = 'base_model.model.model'
  const layers = decoder === null ? model : `${model}.${decoder}`
  const tensors = modules.flatMap((module) => {
    const { a, b } = adapter.matricesOf(module, parameters)
    const { projector } = module
    const name = `${projector === null ? layers : model}.${module.module}`
    const inputs = projector?.inputs ?? module.inputs
    return [
      {
        ...{ name: `${name}.lora_A.weight`, shape: [rank, inputs] },
        values: () => (projector === null ? a : throughMatrix(a, projector)),
      },
      { name: `${name}.lora_B.weight`, shape: [module.outputs, rank], values: () => turnedBack(b, module, rank) },
    ]
  })
  let at = 0
  const header: Record<string, unknown> = {}
  for (const { name, shape } of tensors) {
    const bytes = shape.reduce((product, size) => product * size, 4)
    header[name] = { dtype: 'F32', shape, data_offsets: [at, at + bytes] }
    at += bytes
  }
  const descriptor = openSync(path.join(unfinished, peftNames.matrices), 'w')
  try {
    // Numbers begin at a multiple of their size.
    const text = JSON.stringify(header)
    const padded = Buffer.from(text + ' '.repeat((8 - (Buffer.byteLength(text) % 8)) % 8))
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(padded.length))
    writeFileSync(descriptor, length)
    writeFileSync(descriptor, padded)
    for (const { values } of tensors) writeFileSync(descriptor, values())
  } finally {
    closeSync(descriptor)
  }
  const config = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: base,
    r: rank,
    lora_alpha: alpha,
    lora_dropout: 0,
    bias: 'none',
    // PEFT takes the end of a name: that of a projector may be a number.
    target_modules: [
      ...new Set(
        modules.map(({ module, projector }) => (projector === null ? (module.split('.').at(-1) ?? '') : module)),
      ),
    ],
  }
  writeFileSync(path.join(unfinished, peftNames.config), `${JSON.stringify(config, null, 2)}\n`)
  rmSync(folder, { recursive: true, force: true })
  renameSync(unfinished, folder)
}

/** `[rank, outputs]` in the decoder's order of outputs -> `[outputs, rank]` in that of transformers. */
function turnedBack(b: Float32Array, { outputs, rows }: NamedModule, rank: number): Float32Array {
  const result = new Float32Array(outputs * rank)
  for (let output = 0; output < outputs; output++) {
    const row = rows?.[output] ?? output
    for (let part = 0; part < rank; part++) result[row * rank + part] = b[part * outputs + output] ?? 0
  }
  return result
}
