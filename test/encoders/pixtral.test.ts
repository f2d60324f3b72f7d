import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { needImageArchitecture, openImageEncoder, tilesOf } from '../../src/encoders/index.ts'
import { alignedSize, bicubic, resize, resizeInto } from '../../src/encoders/preprocess/resize.ts'
import type { Engine, ImageAttachment } from '../../src/engine/index.ts'
import { pixels } from '../support/pixels.ts'
import { answerOf, ask, pocketFolder, requestOf, startPocket } from '../support/pocket.ts'

const fixture = <T>(name: string): T => JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8'))
const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, 'hex'))

describe('preprocessing', () => {
  it("chooses llama.cpp's sizes exactly", () => {
    // Rows alternate between the limits of the built-in model and those of Pixtral. The C++ function made them.
    const rows = fixture<[number, number, number, number][]>('./aligned-sizes.json')
    rows.forEach(([width, height, toWidth, toHeight], row) => {
      const [least, most] = row % 2 === 0 ? [16, 36] : [8, 1024]
      expect([width, height, alignedSize({ width, height }, 16, least * 256, most * 256)]).toEqual([
        width,
        height,
        { width: toWidth, height: toHeight },
      ])
    })
  })

  it("scales exactly as Pillow's bicubic filter", () => {
    for (const { from, to, rgb, scaled } of fixture<
      { from: [number, number]; to: [number, number]; rgb: string; scaled: string }[]
    >('./bicubic.json')) {
      const [width, height] = from
      const out = resize({ width, height, rgb: bytes(rgb) }, { width: to[0], height: to[1] }, bicubic)
      expect(Buffer.from(out.rgb).toString('hex')).toBe(scaled)
    }
  })

  it('keeps the aspect and pads the sides with black', () => {
    const white = new Uint8Array(40 * 10 * 3).fill(255)
    const { rgb: out } = resizeInto({ width: 40, height: 10, rgb: white }, { width: 32, height: 16 }, bicubic)
    const row = (y: number) => [...out.subarray(y * 32 * 3, y * 32 * 3 + 3)]
    expect([row(0), row(3), row(4), row(11), row(12)]).toEqual([
      [0, 0, 0],
      [0, 0, 0],
      [255, 255, 255],
      [255, 255, 255],
      [0, 0, 0],
    ])
  })

  it('has as many tokens as detail allows', async () => {
    const architecture = await needImageArchitecture(`${pocketFolder}mmproj-pocket.gguf`)
    const tokens = (detail: 'low' | 'auto' | 'high') =>
      tilesOf(architecture.plan({ width: 640, height: 640 }, detail)).map(({ tokens }) => tokens)
    expect([tokens('low'), tokens('auto'), tokens('high')]).toEqual([[71], [109], [109]])
  })
})

interface Reference {
  width: number
  height: number
  rgb: string
  question: string
  imageTokens: number
  embeddings: number[]
  firstTokenLogits: number[]
  answer: string
}

describe('the built-in model', () => {
  const reference = fixture<Reference>('./pocket-reference.json')
  const image: ImageAttachment = {
    kind: 'image',
    width: reference.width,
    height: reference.height,
    pixels: pixels(bytes(reference.rgb)),
    hash: 'reference',
    detail: 'auto',
  }
  let engine: Engine
  beforeAll(async () => {
    engine = await startPocket()
  })
  afterAll(() => engine.close())

  const encode = async (runtime: 'onnx' | 'ggml', precision: 'fp32' | 'int8' = 'fp32') => {
    const encoder = await openImageEncoder(`${pocketFolder}mmproj-pocket.gguf`, { runtime, precision, threads: 1 })
    expect(encoder.runtime).toBe(runtime)
    const plan = encoder.architecture.plan(image, 'auto')
    const [tile] = tilesOf(plan)
    if (tile === undefined) throw new Error('a plan without a tile')
    expect(tile.tokens).toBe(reference.imageTokens)
    return encoder.encode(
      encoder.architecture.scale({ ...plan.original, rgb: await image.pixels.decode() }, plan),
      tile,
      1,
    )
  }
  const largest = Math.max(...reference.embeddings.map(Math.abs))
  const worst = (found: Float32Array) =>
    Math.max(...reference.embeddings.map((value, i) => Math.abs(value - (found[i] ?? 0)))) / largest
  const cosine = (found: Float32Array) => {
    const norm = (values: ArrayLike<number>) =>
      Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0))
    return (
      reference.embeddings.reduce((sum, value, i) => sum + value * (found[i] ?? 0), 0) /
      norm(reference.embeddings) /
      norm(found)
    )
  }

  it("computes PyTorch's embeddings to 4 digits in ONNX Runtime", async () => {
    expect(worst(await encode('onnx'))).toBeLessThan(0.0001)
  })

  it('computes them in ggml to the precision of its 16-bit products', async () => {
    // ggml rounds the values that it multiplies by 16-bit weights to 16 bits, of which 11 are significant.
    const found = await encode('ggml')
    expect(worst(found)).toBeLessThan(0.005)
    expect(cosine(found)).toBeGreaterThan(0.9999)
  })

  it('computes similar ones with 8-bit weights', async () => {
    expect(cosine(await encode('onnx', 'int8'))).toBeGreaterThan(0.999)
  })

  it("computes PyTorch's logits for the first token, and gives the same answer", async () => {
    const { events, texts } = await answerOf(
      engine,
      requestOf(ask(reference.question, image), { topLogprobs: reference.firstTokenLogits.length }),
    )
    expect(texts[0]).toBe(reference.answer)
    const first = events.find((event) => event.type === 'text')
    const logprobs = new Map(first?.type === 'text' ? first.tokens[0]?.top.map(({ id, logprob }) => [id, logprob]) : [])
    const logits = reference.firstTokenLogits
    const most = Math.max(...logits)
    const normalizer = most + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0))
    const worst = Math.max(
      ...logits.map((logit, id) => Math.abs(logit - normalizer - (logprobs.get(id) ?? Number.NaN))),
    )
    expect(worst).toBeLessThan(0.25)
  })
})
