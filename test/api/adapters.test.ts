import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type AdapterPlan, writeAdapter } from '../support/adapters.ts'
import { postJson } from '../support/http.ts'
import { startServer, type TestServer } from '../support/server.ts'

interface Answered {
  model: string
  choices: { message: { content: string } }[]
  usage: { prompt_tokens_details: { cached_tokens: number } }
  error?: { message: string; code: string; param: string }
}

describe('adapters', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-adapters-'))
  const write = (id: string, plan: AdapterPlan) => writeAdapter(folder, id, plan)
  let server: TestServer
  beforeAll(async () => {
    for (const [at, id] of ['one', 'two', 'three'].entries()) write(id, { seed: at + 1 })
    server = await startServer({ models: { dirs: [folder] }, engine: { maxAdapters: 3 } })
  })
  afterAll(() => server.close())

  const ask = async (
    model: string,
    question = 'What shapes are there?',
    more = {},
  ): Promise<Answered & { status: number }> => {
    const messages = [{ role: 'user', content: question }]
    const body = { model, messages, temperature: 0, max_tokens: 24, ignore_eos: true, ...more }
    const response = await postJson(`${server.url}/v1/chat/completions`, body)
    return { status: response.status, ...((await response.json()) as Answered) }
  }
  const textOf = async (model: string, question?: string): Promise<string> => {
    const { choices } = await ask(model, question)
    return choices[0]?.message.content ?? ''
  }

  it('answer in their own way, by each form of their names, which the answer repeats', async () => {
    const base = await textOf('pocket')
    const own = await textOf('one')
    expect(new Set([base, own, await textOf('two'), await textOf('three')]).size).toBe(4)
    for (const name of ['pocket#one', 'accounts/me/models/one', 'accounts/me/models/pocket#accounts/me/models/one']) {
      const { model, choices } = await ask(name)
      expect(model).toBe(name)
      expect(choices[0]?.message.content).toBe(own)
    }
    expect(await textOf('pocket')).toBe(base)
  })

  it('answer many clients at once as they answer each alone', async () => {
    const models = ['pocket', 'one', 'two', 'three']
    const asked = Array.from({ length: 8 }, (_, client) => ({
      model: models[client % 4] ?? '',
      question: `Describe the picture number ${client} in a sentence.`,
    }))
    const alone: string[] = []
    for (const { model, question } of asked) alone.push(await textOf(model, question))
    const together = await Promise.all(asked.map(({ model, question }) => textOf(model, question)))
    expect(together).toEqual(alone)
  })

  it('share no prefix with the model alone, and share their own', async () => {
    const question = 'A question that nobody has asked before, which is long enough to be shared.'
    const cachedOf = async (model: string) => (await ask(model, question)).usage.prompt_tokens_details.cached_tokens
    // The part of the template before the question is known of each.
    const first = [await cachedOf('pocket'), await cachedOf('one'), await cachedOf('two')]
    const second = [await cachedOf('pocket'), await cachedOf('one'), await cachedOf('two')]
    for (const [at, cached] of first.entries()) expect(second[at]).toBeGreaterThan(cached + 10)
  })
})
