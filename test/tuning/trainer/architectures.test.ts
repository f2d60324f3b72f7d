import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { randomNumbers } from '../../../src/random.ts'
import type { Sequence } from '../../../src/tuning/sequence.ts'
import { projectorOf } from '../../../src/tuning/trainer/projector.ts'
import { joinedRun } from '../../../src/tuning/trainer/runs.ts'
import { Session } from '../../../src/tuning/trainer/session.ts'
import { decoderOf } from '../../encoders/oracle/decoder.ts'
import { openSmall } from '../../support/decoder.ts'
import { type TensorPlan, type Value, writeGguf } from '../../support/gguf-file.ts'
import { smallDecoders, writeSmallDecoder } from '../../support/small-decoders.ts'
import { trainingConfig } from './pocket.ts'
import { servedLoss } from './served.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'trained-decoders-'))
afterAll(() => rmSync(folder, { recursive: true }))

const width = 64
/** Two heads share a key. */
const [heads, keyHeads, head] = [4, 2, 16]

interface Plan {
  layers?: number
  metadata?: Record<string, Value>
  /** More tensors of a layer, and of the model. */
  layer?: (layer: number) => TensorPlan[]
  model?: TensorPlan[]
  isUntied?: boolean
  deepstack?: number
  axes?: 1 | 4
}

const noise = (name: string, ...shape: number[]): TensorPlan => ({ name, shape, fill: { exact: 0.7 } })
const biases = (layer: number): TensorPlan[] => [
  noise(`blk.${layer}.attn_q.bias`, heads * head),
  noise(`blk.${layer}.attn_k.bias`, keyHeads * head),
  noise(`blk.${layer}.attn_v.bias`, keyHeads * head),
]
const headNorms = (layer: number): TensorPlan[] =>
  ['attn_q_norm', 'attn_k_norm'].map((name) => noise(`blk.${layer}.${name}.weight`, head))
const sections = { 'rope.dimension_sections': { i32: [3, 3, 2, 0] } } as const

const plans: Readonly<Record<string, Plan>> = {
  llama: { model: [{ name: 'rope_freqs.weight', shape: [head / 2], fill: { constant: 3 } }], isUntied: true },
  mistral3: { metadata: { 'rope.scaling.type': { string: 'linear' }, 'rope.scaling.factor': { f32: 4 } } },
  smollm3: { layers: 4 },
  qwen2: { layer: biases },
  qwen2vl: { layer: biases, metadata: sections, axes: 4 },
  qwen3: { layer: headNorms, isUntied: true },
  qwen3vl: {
    layer: headNorms,
    metadata: { ...sections, n_deepstack_layers: { u32: 2 } },
    ...{ deepstack: 2, axes: 4, layers: 3 },
  },
}

/** Writes a decoder of random 32-bit floats. */
function write(architecture: string, plan: Plan): string {
  const { layers = 2, layer = () => [], model = [], isUntied = false } = plan
  const named = Object.entries({
    ...plan.metadata,
    'attention.head_count': { u32: heads },
    'attention.head_count_kv': { u32: keyHeads },
  })
  const { metadata, tensors } = decoderOf({
    ...{ architecture, layers, width, specials: [] },
    metadata: {
      ...Object.fromEntries(named.map(([key, value]) => [`${architecture}.${key}`, value])),
      [`${architecture}.rope.dimension_count`]: { u32: head },
    },
  })
  const own = tensors.map((tensor): TensorPlan => {
    const [inputs = 1, outputs] = tensor.shape
    const isOfKeys = /attn_[kv]\.weight$/.test(tensor.name)
    const shape = isOfKeys ? [inputs, keyHeads * head] : tensor.shape
    return { ...tensor, shape, fill: { exact: outputs === undefined ? 0.7 : 1 / Math.sqrt(inputs) } }
  })
  const [embeddings] = own
  const output = isUntied && embeddings !== undefined ? [{ ...embeddings, name: 'output.weight' }] : []
  const more = Array.from({ length: layers }, (_, index) => layer(index)).flat()
  const file = path.join(folder, `${architecture}.gguf`)
  writeGguf(file, metadata, [...own, ...output, ...more, ...model], 3)
  return file
}

/** Two examples: one begins with the rows of a picture in a grid. */
function examples({ axes = 1, deepstack = 0 }: Plan): Sequence[] {
  const random = randomNumbers(5)
  const tokens = (count: number): number[] => Array.from({ length: count }, () => 3 + Math.floor(random() * 200))
  const rows = Float32Array.from({ length: 6 * width * (1 + deepstack) }, () => random() - 0.5)
  const first = [...tokens(1), ...Array.from({ length: 6 }, () => -1), ...tokens(12)]
  const second = tokens(9)
  const positionsOf = (all: readonly number[]): Int32Array =>
    Int32Array.from({ length: axes * all.length }, (_, at) => {
      const [axis, cell] = [Math.floor(at / all.length), at % all.length]
      if (all[cell] !== -1) return axis === 3 ? 0 : cell
      return [1, 1 + Math.floor((cell - 1) / 3), 1 + ((cell - 1) % 3), 0][axis] ?? 0
    })
  return [first, second].map((all, index) => ({
    tokens: Int32Array.from(all),
    positions: axes === 1 ? Int32Array.from(all, (_, cell) => cell) : positionsOf(all),
    learned: Uint8Array.from(all, (_, cell) => (cell >= all.length - 6 ? 1 : 0)),
    spans: index === 0 ? [{ start: 1, rows }] : [],
  }))
}

describe.each(Object.entries(plans))('a decoder of the architecture %s', (architecture, plan) => {
  const all = examples(plan)
  const open = (file: string) => Session.open({ ...trainingConfig, decoder: file, cells: 48 })

  it('has the losses that it has when it answers', async () => {
    const file = write(architecture, plan)
    const decoder = openSmall(file, { batchRows: 32 })
    const session = await open(file)
    try {
      for (const sequence of all) {
        const wanted = await servedLoss(decoder, sequence)
        const found = session.evaluate(joinedRun([sequence], session.architecture, session.embeddings))
        expect(Math.abs(found / wanted - 1)).toBeLessThan(2e-3)
      }
      const together = session.evaluate(joinedRun(all, session.architecture, session.embeddings))
      const apart = all.map((one) => session.evaluate(joinedRun([one], session.architecture, session.embeddings)))
      expect(together).toBeCloseTo(
        apart.reduce((sum, loss) => sum + loss),
        3,
      )
    } finally {
      session.close()
      decoder.close()
    }
  })

  it('has gradients that tell how the loss changes', async () => {
    const session = await open(write(architecture, plan))
    try {
      const { adapter } = session
      const random = randomNumbers(11)
      adapter.begin(1)
      const start = adapter.read(adapter.parameters)
      for (const module of session.modules) {
        const { b } = adapter.matricesOf(module, start)
        for (let at = 0; at < b.length; at++) b[at] = random() - 0.5
      }
      const run = joinedRun(all, session.architecture, session.embeddings)
      adapter.write(adapter.parameters, start)
      session.learn(run)
      const gradients = adapter.read(adapter.gradients)
      // Along the gradient itself the loss changes by its length.
      const length = Math.hypot(...gradients)
      const far = 0.02 / length
      const at = (way: number): number => {
        adapter.write(
          adapter.parameters,
          start.map((value, index) => value + way * far * (gradients[index] ?? 0)),
        )
        return session.evaluate(run)
      }
      const slope = (at(1) - at(-1)) / (2 * 0.02)
      expect(Math.abs(slope / length - 1)).toBeLessThan(0.01)
    } finally {
      session.close()
    }
  })
})

describe('the projector', () => {
  const hidden = 24
  const plan: Plan = plans.llama ?? {}
  const writeVision = (type: string): string => {
    const file = path.join(folder, `mmproj-${type}.gguf`)
    writeGguf(
      file,
      { 'general.architecture': { string: 'clip' }, 'clip.projector_type': { string: type } },
      [
        { name: 'mm.2.weight', shape: [hidden, width], fill: { exact: 0.2 } },
        noise('mm.2.bias', width),
        noise('v.token_embd.img_break', width),
      ],
      3,
    )
    return file
  }
  const opened = () =>
    Session.open({ ...trainingConfig, decoder: write('llama', plan), projector: writeVision('pixtral'), cells: 48 })

  it('has gradients that tell how the loss changes, though only what it has made is known', async () => {
    const session = await opened()
    try {
      const { adapter, projector } = session
      const module = session.modules.at(-1)
      if (projector === null || module === undefined) throw new Error('the projector is not trained')
      const [example] = examples(plan)
      if (example === undefined) throw new Error('there is no example')
      example.spans[0]?.rows.set(projector.pause ?? [], 2 * width)
      adapter.begin(1)
      const start = adapter.read(adapter.parameters)
      const random = randomNumbers(11)
      const { b } = adapter.matricesOf(module, start)
      for (let at = 0; at < b.length; at++) b[at] = random() - 0.5
      adapter.write(adapter.parameters, start)
      const run = joinedRun([example], session.architecture, session.embeddings, projector)
      session.learn(run)
      const own = adapter.matricesOf(module, adapter.read(adapter.gradients))
      const length = Math.hypot(...own.a, ...own.b)
      expect(length).toBeGreaterThan(0)
      const far = 0.005 / length
      const at = (way: number): number => {
        const moved = start.slice()
        const parts = adapter.matricesOf(module, moved)
        for (const half of ['a', 'b'] as const)
          for (const [index, value] of own[half].entries())
            parts[half][index] = (parts[half][index] ?? 0) + way * far * value
        adapter.write(adapter.parameters, moved)
        return session.evaluate(run)
      }
      const slope = (at(1) - at(-1)) / (2 * 0.005)
      expect(Math.abs(slope / length - 1)).toBeLessThan(0.01)
    } finally {
      session.close()
    }
  })

  it('is refused for a model that takes no images', async () => {
    await expect(projectorOf(null)).rejects.toThrow('The model takes no images, so it has no projector to train.')
  })

  it('is refused where its last matrix is not the last step of the encoder', async () => {
    const files = { decoder: write('llama', plan), projector: writeVision('gemma3') }
    await expect(Session.open({ ...trainingConfig, ...files, cells: 48 })).rejects.toMatchObject({
      kind: 'invalid',
      code: 'unsupported_model',
      message: expect.stringContaining('projector of this model cannot be trained'),
    })
  })
})

it.each(smallDecoders.filter((name) => !(name in plans)))(
  'the architecture %s is refused with a way out',
  async (name) => {
    const file = path.join(folder, `refused-${name}.gguf`)
    writeSmallDecoder(file, name)
    await expect(Session.open({ ...trainingConfig, decoder: file, cells: 16 })).rejects.toMatchObject({
      kind: 'invalid',
      code: 'unsupported_model',
      message: expect.stringContaining('external trainer'),
    })
  },
)
