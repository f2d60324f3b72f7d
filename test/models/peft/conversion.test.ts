import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { headerOf, type MetadataValue, metadataOf } from '../../../src/gguf/index.ts'
import { convert } from '../../../src/models/peft/convert.ts'
import { type PeftBase, type PlannedTensor, planPeft, readPeft } from '../../../src/models/peft/plan.ts'
import { isOfEncoder, visionTargets } from '../../../src/models/peft/vision-names.ts'
import { type TensorPlan, type Value, writeGguf } from '../../support/gguf-file.ts'
import { halvesOf, numbersOf, type PeftTensor, writePeft } from '../../support/peft.ts'

interface Case {
  arch: string
  vision?: string
  base: Record<string, number>
  dtype: 'F32' | 'F16' | 'BF16'
  modules: [name: string, inputs: number, outputs: number][]
  table?: [name: string, tokens: number, width: number]
}

interface Expected {
  metadata: Record<string, unknown>
  tensors: Record<string, [shape: number[], hash: string]>
}

const json = (name: string) => JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8'))
const cases: Record<string, Case> = json('cases.json')
const expected: Record<string, Expected> = json('expected.json')

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-peft-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** What every decoder says of itself. */
const decoderKeys = (arch: string): Record<string, Value> => ({
  'general.architecture': { string: arch },
  [`${arch}.block_count`]: { u32: 8 },
  [`${arch}.embedding_length`]: { u32: 64 },
  [`${arch}.context_length`]: { u32: 512 },
})

/** Files of a model that has the matrices that llama.cpp's converter found a place for. */
function baseFor(name: string, { arch, vision, base }: Case, { tensors }: Expected): PeftBase {
  const matrices: TensorPlan[] = Object.keys(tensors)
    .filter((tensor) => tensor.endsWith('.lora_a'))
    .map((tensor) => {
      const matrix = tensor.slice(0, -'.lora_a'.length)
      const [a = [], b = []] = [tensors[tensor]?.[0], tensors[`${matrix}.lora_b`]?.[0]]
      const shape = matrix === 'token_embd.weight' ? [b[1] ?? 0, a[1] ?? 0] : [a[0] ?? 0, b[1] ?? 0]
      return { name: matrix, shape, fill: { constant: 0 } }
    })
  const numbers = Object.entries(base).map(([key, value]): [string, Value] => [
    vision === undefined ? `${arch}.${key}` : key,
    { u32: value },
  ])
  const write = (file: string, metadata: Record<string, Value>, tensors: readonly TensorPlan[]) => {
    writeGguf(path.join(folder, file), { ...metadata, ...Object.fromEntries(numbers) }, tensors, 1)
    return path.join(folder, file)
  }
  const one: TensorPlan = { name: 'token_embd.weight', shape: [8, 8], fill: { constant: 0 } }
  if (vision === undefined) return { decoder: write(`${name}.gguf`, decoderKeys(arch), matrices), projector: null }
  const projector = { 'general.architecture': { string: 'clip' }, 'clip.projector_type': { string: vision } }
  return {
    decoder: write(`${name}.gguf`, decoderKeys('llama'), [one]),
    projector: write(`mmproj-${name}.gguf`, projector, matrices),
  }
}

function tensorsOf({ modules, table, dtype }: Case): PeftTensor[] {
  const halves = modules.flatMap((module) => halvesOf(...module))
  const [name, tokens = 0, width = 0] = table ?? []
  const tables =
    name === undefined
      ? []
      : [
          { name: `base_model.model.${name}.lora_embedding_A`, shape: [4, tokens] },
          { name: `base_model.model.${name}.lora_embedding_B`, shape: [width, 4] },
        ]
  return [...halves, ...tables].map((tensor) => ({ ...tensor, type: dtype }))
}

/** Converts, and reads the shapes and hashes of the result. */
async function converted(name: string, tensors: readonly PlannedTensor[], architecture: string, alpha: number) {
  const target = path.join(folder, `${name}.result.gguf`)
  const source = path.join(folder, name, 'adapter_model.safetensors')
  convert({ source, target, architecture, name, alpha, invocation: [], tensors })
  const header = await headerOf(target)
  const bytes = readFileSync(target)
  let at = bytes.length
  const found = header.tensors.toReversed().map(({ name, shape, bytes: size }): [string, unknown] => {
    at -= Math.ceil(size / 32) * 32
    const hash = createHash('sha256').update(bytes.subarray(at, at + size))
    return [name, [shape, hash.digest('hex').slice(0, 32)]]
  })
  return { metadata: header.metadata, tensors: Object.fromEntries(found) }
}

describe("an adapter in the format of PEFT becomes what llama.cpp's converter makes of it", () => {
  it.each(Object.entries(cases))('%s', async (name, one) => {
    const wanted = expected[name]
    if (wanted === undefined) throw new Error('expected.json is older than cases.json')
    writePeft(path.join(folder, name), tensorsOf(one))
    const plan = await planPeft(await readPeft(path.join(folder, name)), baseFor(name, one, wanted))
    const isVision = one.vision !== undefined
    expect([plan.decoder.length > 0, plan.vision.length > 0]).toEqual([!isVision, isVision])
    const found = await converted(name, isVision ? plan.vision : plan.decoder, one.arch, plan.alpha)
    expect(found.tensors).toEqual(wanted.tensors)
    expect(Object.fromEntries([...found.metadata].filter(([key]) => key !== 'general.name'))).toEqual(wanted.metadata)
  })
})

it('modules of the vision half have the names of old and of new versions of transformers', () => {
  const facts = (type: string) => ({
    metadata: new Map<string, MetadataValue>([
      ['clip.projector_type', type],
      ['clip.vision.attention.head_count', 4],
    ]),
    tensors: [5, 7].map((layer) => ({
      name: `v.deepstack.${layer}.fc1.weight`,
      shape: [1],
      type: 'F32',
      bytes: 4,
      at: 0,
    })),
    fileBytes: 0,
  })
  for (const { vision = '', modules } of Object.values(cases).filter(({ vision }) => vision !== undefined))
    for (const [module] of modules) {
      const other = module.startsWith('model.') ? module.slice('model.'.length) : `model.${module}`
      const matrices = (name: string) =>
        visionTargets(name, metadataOf(facts(vision), '')).map((choice) => choice.map(({ matrix }) => matrix))
      expect([isOfEncoder(other), matrices(other)]).toEqual([true, matrices(module)])
    }
})

describe('what the converter of llama.cpp does not do', () => {
  const small = (module: string, outputs = 8) => halvesOf(module, 8, outputs)
  const base = (more: Record<string, Value> = {}, names: readonly string[] = ['blk.0.attn_v.weight']): PeftBase => {
    const decoder = path.join(folder, `base-${names.join()}.gguf`)
    const tensors = names.map((name) => ({ name, shape: [8, 8], fill: { constant: 0 } as const }))
    writeGguf(decoder, { ...decoderKeys('qwen35'), ...more }, tensors, 1)
    return { decoder, projector: null }
  }
  const value = 'model.layers.0.self_attn.v_proj'
  let count = 0
  const plan = async (tensors: readonly PeftTensor[], config: Record<string, unknown>, on: PeftBase = base()) => {
    const place = path.join(folder, `own-${count++}`)
    writePeft(place, tensors, config)
    return planPeft(await readPeft(place), on)
  }

  it('folds the scale of rsLoRA into alpha', async () => {
    expect((await plan(small(value), { use_rslora: true })).alpha).toBe(16)
  })

  it('folds the alpha of a module into its second half', async () => {
    const { alpha, decoder } = await plan(small(value), { alpha_pattern: { 'self_attn.v_proj': 2 } })
    expect({ alpha, factors: decoder.map(({ factor }) => factor) }).toEqual({ alpha: 8, factors: [1, 0.25] })
  })

  it('scales a module of another rank as PEFT does, with rsLoRA too', async () => {
    const tensors = halvesOf(value, 8, 8, 2)
    expect((await plan(tensors, {})).decoder.map(({ factor }) => factor)).toEqual([1, 1])
    const { alpha, decoder } = await plan(tensors, { use_rslora: true })
    // llama.cpp scales with alpha / 2, and PEFT with 8 / sqrt(2).
    expect((decoder[1]?.factor ?? 0) * (alpha / 2)).toBeCloseTo(8 / Math.sqrt(2), 6)
  })

  it('keeps the invocation tokens of aLoRA', async () => {
    expect((await plan(small(value), { alora_invocation_tokens: [5, 7] })).invocation).toEqual([5, 7])
  })

  it('tiles the columns of a linear attention whose values have more heads than its keys', async () => {
    const facts = { group_count: 2, time_step_rank: 4, inner_size: 8, state_size: 2 }
    const more = Object.fromEntries(Object.entries(facts).map(([key, u32]) => [`qwen35.ssm.${key}`, { u32 }]))
    const on = base(more, ['blk.0.ssm_out.weight'])
    const { decoder } = await plan(small('model.layers.0.linear_attn.out_proj'), {}, on)
    expect([...(decoder[0]?.columns ?? [])]).toEqual([0, 1, 4, 5, 2, 3, 6, 7])
  })

  it.each([
    [
      'DoRA',
      [...small(value), { name: `base_model.model.${value}.lora_magnitude_vector`, shape: [8] }],
      {},
      'lora_magnitude_vector',
    ],
    ['DoRA that the configuration tells of', small(value), { use_dora: true }, 'use_dora'],
    [
      'whole weights',
      [...small(value), { name: 'base_model.model.model.norm.weight', shape: [8] }],
      {},
      'modules_to_save',
    ],
    [
      'added tokens',
      [...small(value), { name: 'base_model.model.model.embed_tokens.weight', shape: [9, 8] }],
      {},
      'embed_tokens',
    ],
    ['biases', small(value), { lora_bias: true }, 'lora_bias'],
    ['a base that was changed', small(value), { init_lora_weights: 'pissa' }, 'pissa'],
    ['another kind of adapter', small(value), { peft_type: 'IA3' }, 'IA3'],
    ['a head that the model shares with its table', small('lm_head'), {}, 'table of tokens'],
    ['an unknown module', small('model.layers.0.self_attn.rotary'), {}, 'model.layers.0.self_attn.rotary'],
    ['a layer that the model does not have', small('model.layers.7.self_attn.v_proj'), {}, 'blk.7.attn_v'],
    ['another shape', small(value, 12), {}, '8 x 12'],
    ['a half alone', small(value).slice(1), {}, 'one half only'],
    ['a vision half for a model without one', small('model.visual.blocks.0.attn.proj'), {}, 'no vision file'],
    [
      'several adapters in one file',
      ['one', 'two'].flatMap((adapter) =>
        small(value).map(({ name, ...rest }) => ({ ...rest, name: name.replace('.weight', `.${adapter}.weight`) })),
      ),
      {},
      'one, two',
    ],
    ['patterns that are regular expressions', small(value), { alpha_pattern: { '(a+)+$': 2 } }, 'regular expressions'],
    ['a rank of 0', small(value), { r: 0 }, 'no valid r'],
    ['a missing alpha', small(value), { lora_alpha: undefined }, 'lora_alpha: expected number, received undefined'],
  ] as const)('refuses %s, and names it', async (_, tensors, config, named) => {
    await expect(plan(tensors, config)).rejects.toMatchObject({
      kind: 'invalid',
      message: expect.stringContaining(named),
    })
  })
})

it('numbers of a test are what every type has', () => {
  expect(Math.max(...numbersOf('a', 1000))).toBeLessThan(1)
})
