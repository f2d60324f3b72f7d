import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { z } from 'zod'
import type { preview } from '../../src/api/counting/preview.ts'
import type { Usage } from '../../src/api/shapes/usage.ts'
import { needImageArchitecture, tilesOf, tokensOf } from '../../src/encoders/index.ts'
import { postJson } from '../support/http.ts'
import { dataUrl } from '../support/images.ts'
import { inputs } from '../support/long.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { families, oneOfEachTiling } from './oracle/families.ts'
import { testImage } from './oracle/images.ts'
import { prompt, toldOf } from './oracle/told.ts'

const edge = 64
const folder = mkdtempSync(path.join(tmpdir(), 'oriel-families-'))
const text = { type: 'text', text: 'What is it?' }
let server: TestServer

beforeAll(async () => {
  for (const { name, write } of families) {
    mkdirSync(path.join(folder, name))
    write(path.join(folder, name, `${name}.gguf`), path.join(folder, name, 'mmproj.gguf'))
  }
  server = await startServer({ models: { dirs: [folder] } })
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

async function image(width: number, height: number, detail: string): Promise<object> {
  const raw = { width, height, channels: 3 } as const
  const url = dataUrl(await sharp(testImage(width, height), { raw }).png().toBuffer())
  return { type: 'image_url', image_url: { url, detail } }
}

type Shown = z.output<typeof preview>

async function show(model: string, content: readonly object[]): Promise<Shown> {
  const response = await postJson(`${server.url}/v1/preview`, { model, content })
  const shown = (await response.json()) as Shown
  expect({ status: response.status, shown }).toMatchObject({ status: 200 })
  return shown
}

const pixelsOf = (url: string): Promise<Buffer> =>
  sharp(Buffer.from(url.slice(url.indexOf(',') + 1), 'base64'))
    .raw()
    .toBuffer()

interface Turn {
  role: string
  content: unknown
}

interface Answer {
  usage?: Usage
  choices?: { message: Turn }[]
}

async function chat(model: string, messages: readonly Turn[], settings: object = {}): Promise<Answer> {
  const request = { model, messages, max_tokens: 2, temperature: 0, ...settings }
  const response = await postJson(`${server.url}/v1/chat/completions`, request)
  const answer = (await response.json()) as Answer
  expect({ status: response.status, answer }).toMatchObject({ status: 200, answer: { choices: expect.any(Array) } })
  return answer
}

const ask = async (model: string, content: readonly object[], settings?: object): Promise<Usage | undefined> =>
  (await chat(model, [{ role: 'user', content }], settings)).usage

// Each model is loaded, which takes more time than its answers.
describe.each(inputs(oneOfEachTiling.slice(0, 8), families))('a chat about images with $name', ({ name }) => {
  it('is answered, with the token count of libmtmd', async () => {
    const without = await ask(name, [text])
    const asked = await ask(name, [await image(edge, edge, 'high'), text])
    const told = toldOf(name).find(({ size: [width, height] }) => width === edge && height === edge)
    const tokens = told?.layout.reduce((sum, part) => sum + ('text' in part ? part.text.length : part.tokens), 0)
    // In these vocabularies each byte is a token.
    const ofImage = (tokens ?? Number.NaN) - prompt.join('').length
    expect((asked?.prompt_tokens ?? 0) - (without?.prompt_tokens ?? 0)).toBe(ofImage)
    expect(asked?.prompt_tokens_details).toMatchObject({ image_tokens: ofImage, images: [ofImage] })
  })

  it('takes as many tokens as planned from its size', async () => {
    const { plan } = await needImageArchitecture(path.join(folder, name, 'mmproj.gguf'))
    for (const [width, height, detail] of [
      [200, 150, 'low'],
      [90, 240, 'auto'],
      [200, 150, 'high'],
    ] as const) {
      const content = [await image(width, height, detail), text]
      const planned = tokensOf(plan({ width, height }, detail))
      const counted = await ask(name, content, { dry_run: true })
      const taken = await ask(name, content)
      expect(counted?.prompt_tokens_details.images, `${width} x ${height}, ${detail}`).toEqual([planned])
      expect(taken?.prompt_tokens_details.images).toEqual([planned])
      expect(taken?.prompt_tokens).toBe(counted?.prompt_tokens)
    }
  })

  it('is answered with eight images, and in four turns with more of them', async () => {
    const pictures = [image(70, 50, 'low'), image(50, 90, 'low'), image(1, 1, 'low'), image(64, 64, 'low')]
    const eight = await Promise.all([...pictures, ...pictures.slice(0, 3), image(90, 20, 'low')])
    const usage = await ask(name, [...eight, text])
    const costs = usage?.prompt_tokens_details.images ?? []
    expect(costs.length).toBe(8)
    expect(costs.slice(4, 7)).toEqual(costs.slice(0, 3))

    const messages: Turn[] = []
    for (const [turn, count] of [1, 2, 0, 1].entries()) {
      const content = [...eight.slice(turn, turn + count), text]
      messages.push({ role: 'user', content })
      const { choices, usage } = await chat(name, messages)
      expect(usage?.prompt_tokens_details.images.length).toBe([1, 3, 3, 4][turn])
      messages.push({ role: 'assistant', content: choices?.[0]?.message.content || '.' })
    }
  })
})

describe.each(inputs(oneOfEachTiling.slice(0, 3), families))('a preview of $name', ({ name }) => {
  it('shows the pixels that the encoder gets, and every tile of them', async () => {
    const { longestEdge, plan: planOf, scale } = await needImageArchitecture(path.join(folder, name, 'mmproj.gguf'))
    // A longer edge is shrunk first.
    const most = 2 * longestEdge
    for (const [width, height, detail] of [
      [Math.min(200, most), Math.min(150, most), 'high'],
      [Math.min(70, most), Math.min(110, most), 'low'],
    ] as const) {
      const content = [await image(width, height, detail)]
      const [picture] = (await show(name, content)).pictures
      const plan = planOf({ width, height }, detail)
      const scaled = scale({ width, height, rgb: testImage(width, height) }, plan)
      const sizesOf = (all: readonly { width: number; height: number }[] = []) =>
        all.map((one) => [one.width, one.height])
      expect(sizesOf(picture?.views)).toEqual(sizesOf(scaled))
      for (const [index, { image, tiles }] of (picture?.views ?? []).entries()) {
        const { rgb = [] } = scaled[index] ?? {}
        // Large views are sent as JPEG, which changes pixels a little.
        if (image.startsWith('data:image/png')) expect(Buffer.from(rgb).equals(await pixelsOf(image))).toBe(true)
        const covered = tiles.reduce((sum, tile) => sum + tile.width * tile.height, 0)
        expect(3 * covered).toBe(rgb.length)
      }
      expect(picture?.views.flatMap(({ tiles }) => tiles).length).toBe(tilesOf(plan).length)
      const usage = await ask(name, content, { usage: { include: true } })
      expect(usage?.pictures).toMatchObject([{ seen: picture?.seen, tokens: picture?.tokens, width, height }])
    }
  })
})
