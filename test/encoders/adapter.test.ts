import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { type EncoderSettings, openImageEncoder, tilesOf } from '../../src/encoders/index.ts'
import { headerOf } from '../../src/gguf/index.ts'
import { type TensorPlan, writeGguf } from '../support/gguf-file.ts'
import { inputs } from '../support/long.ts'
import { families } from './oracle/families.ts'
import { openFiles } from './oracle/files.ts'
import { testImage } from './oracle/images.ts'
import { dot } from './oracle/nearness.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-vision-adapter-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Not a multiple of the ranks that are added at once. */
const [rank, alpha] = [6, 9]

const tensorsIn = async (file: string) => (await headerOf(file)).tensors

/** An adapter for some matrices of an encoder, and a copy of the encoder with the products added to its numbers. */
async function adapted(name: string, projector: string) {
  const changed = (await tensorsIn(projector)).filter(
    ({ name, shape, type }) =>
      type === 'F32' && shape.length === 2 && /^v\.blk\.\d+\.(attn_q|attn_qkv|ffn_down)\.|^mm\..*weight$/.test(name),
  )
  const adapter = path.join(folder, `${name}-adapter.gguf`)
  const halves = changed.flatMap(({ name, shape: [inputs = 0, outputs = 0] }): TensorPlan[] => [
    { name: `${name}.lora_a`, shape: [inputs, rank], fill: { exact: 0.1 } },
    { name: `${name}.lora_b`, shape: [rank, outputs], fill: { exact: 0.1 } },
  ])
  const metadata = {
    'general.type': { string: 'adapter' },
    'general.architecture': { string: 'clip' },
    'adapter.type': { string: 'lora' },
    'adapter.lora.alpha': { f32: alpha },
  }
  writeGguf(adapter, metadata, halves, 3)
  const [bytes, added] = [readFileSync(projector), readFileSync(adapter)]
  const places = new Map((await tensorsIn(adapter)).map(({ name, at }) => [name, at]))
  for (const { name, shape, at } of changed) {
    const [inputs = 0, outputs = 0] = shape
    const [a = 0, b = 0] = [places.get(`${name}.lora_a`), places.get(`${name}.lora_b`)]
    for (let row = 0; row < outputs; row++)
      for (let column = 0; column < inputs; column++) {
        let sum = bytes.readFloatLE(at + 4 * (row * inputs + column))
        for (let term = 0; term < rank; term++)
          sum +=
            (alpha / rank) *
            added.readFloatLE(b + 4 * (row * rank + term)) *
            added.readFloatLE(a + 4 * (term * inputs + column))
        bytes.writeFloatLE(sum, at + 4 * (row * inputs + column))
      }
  }
  const merged = path.join(folder, `${name}-merged.gguf`)
  writeFileSync(merged, bytes)
  return { adapter, merged, changed: changed.length }
}

async function embeddingsOf(file: string, settings: Partial<EncoderSettings>): Promise<Float32Array> {
  const { architecture, encode, close } = await openImageEncoder(file, {
    ...{ runtime: 'onnx', precision: 'fp32', threads: 1 },
    ...settings,
  })
  const [size, rgb] = [{ width: 96, height: 96 }, testImage(96, 96)]
  const plan = architecture.plan(size, 'low')
  const [tile] = tilesOf(plan)
  if (tile === undefined) throw new Error('a plan without a tile')
  const embeddings = await encode(architecture.scale({ ...plan.original, rgb }, plan), tile, 1)
  await close()
  return embeddings
}

const cosine = (a: Float32Array, b: Float32Array): number => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))

const chosen = families.filter(({ name }) =>
  ['idefics3', 'pixtral', 'qwen2.5vl', 'gemma3', 'internvl', 'llava'].includes(name),
)

describe.each(inputs(chosen.slice(0, 3), chosen))('an adapter for the encoder of $name', (family) => {
  const files = openFiles(family)
  afterAll(files.remove)

  it.each([
    ['onnx', 'fp32'],
    ['onnx', 'int8'],
    ['ggml', 'fp32'],
  ] as const)(
    'gives what an encoder gives whose weights were merged before, in %s and %s',
    async (runtime, precision) => {
      const { adapter, merged, changed } = await adapted(family.name, files.projector)
      expect(changed).toBeGreaterThan(2)
      const wanted = await embeddingsOf(merged, { runtime, precision })
      const found = await embeddingsOf(files.projector, { runtime, precision, adapter })
      const without = await embeddingsOf(files.projector, { runtime, precision })
      expect(cosine(found, wanted)).toBeGreaterThan(0.999999)
      expect(cosine(without, wanted)).toBeLessThan(0.99)
    },
  )
})

it('weights of an adapter are kept beside those of its base, and found again', async () => {
  const family = families.find(({ name }) => name === 'idefics3')
  if (family === undefined) throw new Error('no idefics3')
  const files = openFiles(family)
  const { adapter } = await adapted('kept', files.projector)
  const cache = { folder: path.join(folder, 'weights'), mostBytes: 1e9 }
  const settings = { precision: 'int8', cache } as const
  const base = await embeddingsOf(files.projector, settings)
  const made = await embeddingsOf(files.projector, { ...settings, adapter })
  const weights = readdirSync(cache.folder)
  expect(weights).toHaveLength(2)
  expect(await embeddingsOf(files.projector, { ...settings, adapter })).toEqual(made)
  expect(await embeddingsOf(files.projector, settings)).toEqual(base)
  expect(readdirSync(cache.folder)).toEqual(weights)
  files.remove()
})

it('an adapter for another encoder is refused', async () => {
  const [one, other] = ['idefics3', 'pixtral'].map((wanted) => families.find(({ name }) => name === wanted))
  if (one === undefined || other === undefined) throw new Error('no such families')
  const files = [openFiles(one), openFiles(other)] as const
  const { adapter } = await adapted('other', files[0].projector)
  await expect(embeddingsOf(files[1].projector, { adapter })).rejects.toMatchObject({
    ...{ kind: 'invalid', code: 'bad_model' },
    message: expect.stringContaining('The adapter does not fit the vision file'),
  })
  for (const { remove } of files) remove()
})
