import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { postJson } from '../support/http.ts'
import { type Colour, dataUrl, shape, teal } from '../support/images.ts'
import { halvesOf, writePeft } from '../support/peft.ts'
import { startServer, type TestServer } from '../support/server.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-trained-'))
let server: TestServer

beforeAll(async () => {
  vi.stubEnv('XDG_CACHE_HOME', path.join(folder, 'cache'))
  // As pocket/adapters.py has trained them, in the format of PEFT.
  cpSync(fileURLToPath(new URL('../pocket/adapters', import.meta.url)), path.join(folder, 'models', 'adapters'), {
    recursive: true,
  })
  server = await startServer({ models: { dirs: [path.join(folder, 'models')] } })
})
afterAll(async () => {
  await server.close()
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

interface Answer {
  choices: { message: { content: string } }[]
  usage: { prompt_tokens_details: { cached_tokens: number } }
}

async function ask(model: string, colour: Colour | typeof teal, kind: 'circle' | 'square' = 'square'): Promise<Answer> {
  const image = { type: 'image_url', image_url: { url: dataUrl(await shape(colour, kind)) } }
  const question = { type: 'text', text: `What color is the ${kind}?` }
  const messages = [{ role: 'user', content: [image, question] }]
  const response = await postJson(`${server.url}/v1/chat/completions`, { model, messages, temperature: 0 })
  expect(response.status).toBe(200)
  return (await response.json()) as Answer
}

async function said(...asked: Parameters<typeof ask>): Promise<string> {
  return (await ask(...asked)).choices[0]?.message.content ?? ''
}

describe('adapters that were trained on the built-in model', () => {
  it('make it answer in upper case, and in JSON', async () => {
    expect(await said('upper', 'red')).toBe('RED')
    expect(await said('json', 'red')).toBe('{"answer": "Red"}')
    expect(await said('pocket', 'red')).toBe('The square is red.')
  })

  it('make it see a colour that it takes for another, and the model alone sees what it saw before', async () => {
    const taken = async (): Promise<number> =>
      Number(/^oriel_models_taken_bytes (\S+)/m.exec(await (await fetch(`${server.url}/metrics`)).text())?.[1])
    expect(await said('pocket', teal)).toBe('The square is gray.')
    const before = await taken()
    expect(await said('teal', teal)).toBe('The square is cyan.')
    // Its encoder takes as much as the model's own.
    expect(await taken()).toBeGreaterThan(before + 9_600_000)
    expect(await said('pocket', teal)).toBe('The square is gray.')
    expect(await said('pocket#teal', 'green')).toBe('The square is green.')
  })

  it('share embeddings and prefixes of images with nobody else', async () => {
    const cached = async (model: string) =>
      (await ask(model, 'purple', 'circle')).usage.prompt_tokens_details.cached_tokens
    const [first, withEyes] = [await cached('pocket'), await cached('teal')]
    // The beginning of the template is everybody's; the image is not.
    expect(withEyes).toBeLessThan(first + 10)
    expect(await cached('teal')).toBeGreaterThan(withEyes + 10)
    expect(await cached('pocket')).toBeGreaterThan(first + 10)
  })

  it('that cannot be used are refused with the reason, and harm nobody', async () => {
    const wide = halvesOf('model.layers.0.self_attn.q_proj', 64, 64)
    writePeft(path.join(folder, 'models', 'adapters', 'wide'), wide)
    const messages = [{ role: 'user', content: 'Hello' }]
    const response = await postJson(`${server.url}/v1/chat/completions`, { model: 'pocket#wide', messages })
    expect(response.status).toBe(412)
    expect(await response.json()).toMatchObject({
      error: {
        code: 'adapter_unusable',
        param: 'model',
        message: expect.stringContaining('made for a matrix of 64 x 64'),
      },
    })
    expect(await said('upper', 'blue')).toBe('BLUE')
  })

  it('answer eight clients at once as they answer each alone', async () => {
    const asked = (['pocket', 'upper', 'json', 'teal'] as const).flatMap((model) =>
      ([teal, 'blue'] as const).map((colour) => ({ model, colour })),
    )
    const alone: string[] = []
    for (const { model, colour } of asked) alone.push(await said(model, colour, 'circle'))
    const together = await Promise.all(asked.map(({ model, colour }) => said(model, colour, 'circle')))
    expect(together).toEqual(alone)
  })
})
