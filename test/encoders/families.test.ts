import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openImageArchitecture, tokensOf } from '../../src/encoders/index.ts'
import { postJson } from '../support/http.ts'
import { dataUrl } from '../support/images.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { families } from './oracle/families.ts'
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

interface Usage {
  prompt_tokens: number
  prompt_tokens_details: { image_tokens: number; images: number[] }
}

async function ask(model: string, content: readonly object[], settings: object = {}): Promise<Usage | undefined> {
  const response = await postJson(`${server.url}/v1/chat/completions`, {
    ...{ model, messages: [{ role: 'user', content }], max_tokens: 2, temperature: 0 },
    ...settings,
  })
  const answer = (await response.json()) as { usage?: Usage }
  expect({ status: response.status, answer }).toMatchObject({ status: 200, answer: { choices: expect.any(Array) } })
  return answer.usage
}

describe.each(families)('a chat about an image with $name', ({ name }) => {
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
    const { plan } = await openImageArchitecture(path.join(folder, name, 'mmproj.gguf'))
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
})
