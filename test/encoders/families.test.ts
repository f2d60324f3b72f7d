import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { postJson } from '../support/http.ts'
import { dataUrl } from '../support/images.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { families } from './oracle/families.ts'
import { testImage } from './oracle/images.ts'
import { prompt, toldOf } from './oracle/told.ts'

const edge = 64
const folder = mkdtempSync(path.join(tmpdir(), 'oriel-families-'))
let server: TestServer
let url: string

beforeAll(async () => {
  for (const { name, write } of families) {
    mkdirSync(path.join(folder, name))
    write(path.join(folder, name, `${name}.gguf`), path.join(folder, name, 'mmproj.gguf'))
  }
  server = await startServer({ models: { dirs: [folder] } })
  const raw = { width: edge, height: edge, channels: 3 } as const
  url = dataUrl(await sharp(testImage(edge, edge), { raw }).png().toBuffer())
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

/** @returns the tokens of the prompt */
async function ask(model: string, content: readonly object[]): Promise<number> {
  const response = await postJson(`${server.url}/v1/chat/completions`, {
    model,
    messages: [{ role: 'user', content }],
    max_tokens: 2,
    temperature: 0,
  })
  const answer = (await response.json()) as { usage?: { prompt_tokens: number } }
  expect({ status: response.status, answer }).toMatchObject({ status: 200, answer: { choices: [{}] } })
  return answer.usage?.prompt_tokens ?? Number.NaN
}

describe('a chat about an image', () => {
  it.each(families.map(({ name }) => name))('is answered by %s, with the token count of libmtmd', async (name) => {
    const text = { type: 'text', text: 'What is it?' }
    const without = await ask(name, [text])
    const asked = await ask(name, [{ type: 'image_url', image_url: { url, detail: 'high' } }, text])
    const told = toldOf(name).find(({ size: [width, height] }) => width === edge && height === edge)
    const tokens = told?.layout.reduce((sum, part) => sum + ('text' in part ? part.text.length : part.tokens), 0)
    // In these vocabularies each byte is a token.
    expect(asked - without).toBe((tokens ?? Number.NaN) - prompt.join('').length)
  })
})
