import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { embeddingList } from '../../src/api/embeddings/schema.ts'
import { embedAnswer } from '../../src/api/ollama/embed.ts'
import { createOriel } from '../../src/app.ts'
import { dimensions, longest, writeBert, writeQwen3 } from '../support/embedding-models.ts'
import { postJson } from '../support/http.ts'
import { shortRun } from '../support/long.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

/**
 * What llama-server of the release of `@node-llama-cpp` answers about the files of `test/support/embedding-models.ts`, with
 * `--embeddings --pooling cls` (bert), `mean` (bert-mean) and `last` (qwen3).
 */
interface Reference {
  texts: string[]
  models: Record<string, { tokens: number; embeddings: number[][] }>
}
const { texts, models }: Reference = JSON.parse(
  readFileSync(new URL('embeddings-of-llama-server.json', import.meta.url), 'utf8'),
)

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-embeddings-'))
const fileOf = (name: string): string => path.join(folder, `${name}.gguf`)
let server: TestServer
let client: OpenAI

beforeAll(async () => {
  writeBert(fileOf('bert'))
  writeBert(fileOf('bert-mean'), 1)
  writeQwen3(fileOf('qwen3'))
  server = await startServer({ model: ['bert', 'bert-mean', 'qwen3'].map(fileOf) })
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 })
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

interface Listed {
  data: { index: number; embedding: number[] }[]
  usage: { prompt_tokens: number; total_tokens: number }
}

const post = (body: object, url = '/v1/embeddings') => postJson(`${server.url}${url}`, { model: 'bert', ...body })

const embed = async (body: object): Promise<Listed> => {
  const response = await post(body)
  expect(response.status).toBe(200)
  const list = await response.json()
  embeddingList.parse(list)
  return list as Listed
}

const vectorsOf = async (body: object): Promise<number[][]> =>
  (await embed(body)).data.map(({ embedding }) => embedding)

const product = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, number, at) => sum + number * (b[at] ?? 0), 0)

describe.each(Object.entries(models))('%s', (model, { tokens, embeddings }) => {
  it('embeds texts as llama-server does, together or one by one', async () => {
    const { data, usage } = await embed({ model, input: texts })
    expect(usage).toEqual({ prompt_tokens: tokens, total_tokens: tokens })
    expect(data.map(({ index }) => index)).toEqual(texts.map((_, index) => index))
    for (const [at, text] of texts.entries())
      for (const found of [data[at]?.embedding ?? [], ...(await vectorsOf({ model, input: text }))]) {
        expect(product(found, embeddings[at] ?? [])).toBeGreaterThan(0.99999)
        expect(product(found, found)).toBeCloseTo(1, 5)
      }
  })
})

describe('POST /v1/embeddings', () => {
  it("serves OpenAI's client, which asks for base64", async () => {
    const { data, model } = await client.embeddings.create({ model: 'bert', input: texts })
    expect(model).toBe('bert')
    const all = await vectorsOf({ input: texts })
    for (const [at, { embedding }] of data.entries()) expect(product(embedding, all[at] ?? [])).toBeCloseTo(1, 5)
  })

  it('takes token ids as they are: [CLS], a letter and [SEP] are the letter', async () => {
    const [text] = await vectorsOf({ input: 'a' })
    expect(await vectorsOf({ input: [2, 5, 3] })).toEqual([text])
    expect(
      await vectorsOf({
        input: [
          [2, 5, 3],
          [2, 3],
        ],
      }),
    ).toHaveLength(2)
  })

  it('keeps the first numbers, at length 1', async () => {
    const [whole = []] = await vectorsOf({ input: 'a red circle' })
    const [short = []] = await vectorsOf({ input: 'a red circle', dimensions: 8 })
    const kept = whole.slice(0, 8)
    expect(short).toHaveLength(8)
    expect(product(short, kept) / Math.sqrt(product(kept, kept))).toBeCloseTo(1, 5)
    expect(product(short, short)).toBeCloseTo(1, 5)
  })

  it('computes more texts than a step has, and texts longer than a step', async () => {
    const many = Array.from({ length: 500 }, (_, at) => `text ${at}`)
    const all = await vectorsOf({ input: many })
    expect(all).toHaveLength(many.length)
    expect(product(all[437] ?? [], (await vectorsOf({ input: 'text 437' }))[0] ?? [])).toBeGreaterThan(0.99999)
    // Qwen3 takes it in several steps: the last token sees all others.
    const long = 'long '.repeat(400)
    const [alone = [], changed = []] = await vectorsOf({ model: 'qwen3', input: [long, `x${long}`] })
    expect(product(alone, changed)).toBeLessThan(0.99999)
    expect(product(alone, (await vectorsOf({ model: 'qwen3', input: ['a', long] }))[1] ?? [])).toBeGreaterThan(0.99999)
  })

  const tooLong = 'x '.repeat(longest)
  const kinds = 'must be a string, an array of strings, an array of token ids or an array of such arrays'
  it.each([
    [
      'a text of several that is too long',
      { input: ['a', tooLong] },
      'input[1]',
      `input[1]: This model embeds texts of at most ${longest} tokens, and the text has ${longest + 2}.`,
    ],
    [
      'a text that is too long',
      { input: tooLong },
      'input',
      `This model embeds texts of at most ${longest} tokens, and the text has ${longest + 2}.`,
    ],
    ['a text that is far too long', { input: 'x'.repeat(100_000) }, 'input', 'and the text has 100000 bytes.'],
    [
      'a token that the model does not have',
      { input: [5, 5000] },
      'input',
      'The token 5000 does not exist: this model has the tokens 0 to',
    ],
    [
      'more dimensions than there are',
      { input: 'a', dimensions: dimensions + 1 },
      'dimensions',
      `have ${dimensions} dimensions; ${dimensions + 1} are wanted.`,
    ],
    ['no dimensions', { input: 'a', dimensions: 0 }, 'dimensions', 'must be at least 1'],
    ['another encoding', { input: 'a', encoding_format: 'hex' }, 'encoding_format', 'must be "float" or "base64"'],
    ['no input', {}, 'input', `input ${kinds}; found nothing.`],
    ['an empty list', { input: [] }, 'input', 'with at least 1 item; found an empty array.'],
    ['an empty text', { input: '' }, 'input', 'input must not be empty'],
    ['an empty text of several', { input: ['a', ''] }, 'input[1]', 'input[1] must not be empty'],
    ['a list of texts as a text', { input: [['a']] }, 'input[0]', 'must be a string or an array of token ids'],
    ['a token below 0', { input: [1, -1] }, 'input[1]', 'input[1] must be a token id; found -1.'],
    [
      'too many texts',
      { input: Array.from({ length: 2049 }, () => 'a') },
      'input',
      'must have at most 2048 items, and has 2049',
    ],
    [
      'an image',
      { input: [{ type: 'image_url', image_url: { url: 'x' } }] },
      'input[0]',
      'no model of this server embeds images',
    ],
    [
      'a data URL of an image',
      { input: 'data:image/png;base64,AAAA' },
      'input',
      'no model of this server embeds images',
    ],
  ])('refuses %s', async (_, body, param, message) => {
    const response = await post(body)
    const { error } = (await response.json()) as { error: { param: string; message: string } }
    expect(response.status).toBe(400)
    expect(error.param).toBe(param)
    expect(error.message).toContain(message)
  })

  it('is where Fireworks and Novita have it, with their errors', async () => {
    for (const base of ['/inference/v1', '/openai/v1', '/v3/openai']) {
      expect((await post({ input: 'a' }, `${base}/embeddings`)).status).toBe(200)
      expect((await post({ input: '' }, `${base}/embeddings`)).status).toBe(400)
    }
  })

  it('goes on with other requests when its client leaves', async () => {
    const leaving = new AbortController()
    const input = Array.from({ length: 2048 }, (_, at) => `${at} `.repeat(20))
    const left = postJson(`${server.url}/v1/embeddings`, { model: 'bert', input }, { signal: leaving.signal })
    setTimeout(() => leaving.abort(), 50)
    await expect(left).rejects.toThrow()
    expect(await vectorsOf({ input: 'a' })).toHaveLength(1)
  })
})

describe('a model of the other kind', () => {
  const errorOf = async (response: Response) => ({
    status: response.status,
    ...((await response.json()) as { error: { code: string; message: string; param: string } }).error,
  })

  it('is refused by chats, which say where to send texts', async () => {
    const messages = [{ role: 'user', content: 'Hello' }]
    for (const [url, body] of [
      ['/v1/chat/completions', { messages }],
      ['/v1/completions', { prompt: 'Hello' }],
      ['/v1/responses', { input: 'Hello' }],
      ['/tokenize', { messages }],
    ] as const)
      expect(await errorOf(await post(body, url))).toMatchObject({
        status: 400,
        code: 'model_embeds',
        param: 'model',
        message: 'The model bert embeds texts and does not answer. Send texts to /v1/embeddings.',
      })
  })

  it('is refused by embeddings, which say which models embed', async () => {
    expect(await errorOf(await post({ model: 'pocket', input: 'a' }))).toMatchObject({
      status: 400,
      code: 'model_answers',
      param: 'model',
    })
    const listed = await fetch(`${server.url}/v1/models?features=embeddings`)
    const { data } = (await listed.json()) as { data: object[] }
    expect(data).toHaveLength(3)
    expect(data[0]).toMatchObject({
      ...{ id: 'bert', title: 'A small BERT', dimensions, context_length: longest, model_type: 'embedding' },
      ...{ supports_chat: false, supports_image_input: false, endpoints: ['embeddings'] },
    })
  })
})

describe("Ollama's API", () => {
  it('embeds, and cuts what is too long unless it is told not to', async () => {
    const cut = 'x '.repeat(longest)
    const response = await post({ input: ['a', cut], dimensions: 4 }, '/api/embed')
    const { embeddings, prompt_eval_count: tokens } = embedAnswer.parse(await response.json())
    expect(embeddings.map(({ length }) => length)).toEqual([4, 4])
    expect(tokens).toBe(3 + longest)
    expect((await post({ input: cut, truncate: false }, '/api/embed')).status).toBe(400)
    expect(await (await post({ input: '' }, '/api/embed')).json()).toMatchObject({
      embeddings: [],
      prompt_eval_count: 0,
    })
  })

  it('has the older form, and says what the model can', async () => {
    const { embedding } = (await (await post({ prompt: 'a' }, '/api/embeddings')).json()) as { embedding: number[] }
    expect([embedding]).toEqual(await vectorsOf({ input: 'a' }))
    expect(await (await post({}, '/api/show')).json()).toMatchObject({
      capabilities: ['embedding'],
      model_info: { 'bert.embedding_length': dimensions },
    })
  })
})

it('counts tokens and texts', async () => {
  const metric = async (name: string) => {
    const text = await (await fetch(`${server.url}/metrics`)).text()
    return Number(new RegExp(`^${name}{model="bert-mean"} (.*)$`, 'm').exec(text)?.[1])
  }
  const names = ['oriel_prompt_tokens_total', 'oriel_embedded_texts_total', 'oriel_embedding_seconds_count']
  const before = await Promise.all(names.map(metric))
  const { usage } = await embed({ model: 'bert-mean', input: ['a', 'b c'] })
  const after = await Promise.all(names.map(metric))
  expect(after.map((value, at) => value - (before[at] ?? 0))).toEqual([usage.prompt_tokens, 2, 1])
  // A request is settled when its response is over.
  await vi.waitFor(async () => {
    const ledger = await fetch(`${server.url}/v1/usage?group_by=model`)
    const { data } = (await ledger.json()) as { data: { model: string; prompt_tokens: number }[] }
    expect(data.find(({ model }) => model === 'bert-mean')?.prompt_tokens).toBe(after[0])
  }, patient)
})

it('embeds in a program', async () => {
  const oriel = await createOriel({ model: [fileOf('bert')], logLevel: 'silent' })
  const { embeddings, tokens } = await oriel.embed(['a red circle', 'a'])
  expect(embeddings.map(({ length }) => length)).toEqual([dimensions, dimensions])
  expect(tokens).toBe(12 + 3)
  await expect(oriel.ask('Hello')).rejects.toThrow('embeds texts and does not answer')
  await expect(oriel.embed('a', { model: 'pocket' })).rejects.toThrow('answers and does not embed')
  await expect(oriel.embed('a', { dimensions: 1000 })).rejects.toThrow('1000 are wanted')
  await oriel.close()
})

const isRunning = () =>
  vi.waitFor(async () => {
    const { engines } = (await (await fetch(`${server.url}/health`)).json()) as { engines: { running: number }[] }
    expect(engines.some(({ running }) => running > 0)).toBe(true)
  }, patient)

it.skipIf(shortRun)('goes on with the texts of an engine that has died, once', async () => {
  const input = Array.from({ length: 600 }, (_, at) => `${at % 10} `.repeat(longest - 2))
  const whole = await vectorsOf({ input: input.slice(0, 10) })
  const running = post({ input })
  await isRunning()
  server.kill()
  const response = await running
  const { data } = (await response.json()) as { data: { embedding: number[] }[] }
  expect({ status: response.status, count: data.length }).toEqual({ status: 200, count: 600 })
  for (const [at, { embedding }] of data.entries()) expect(embedding[0]).toBeCloseTo(whole[at % 10]?.[0] ?? 0, 4)

  let over = false
  const failing = post({ input }).finally(() => {
    over = true
  })
  while (!over) {
    server.kill()
    await wait(20)
  }
  const failed = await failing
  expect(failed.status).toBe(503)
  expect(await failed.json()).toMatchObject({ error: { message: expect.stringContaining('engine') } })
})
