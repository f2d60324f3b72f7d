import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { model } from '../../src/api/models/models.ts'
import { type AdapterPlan, writeAdapter } from '../support/adapters.ts'
import type { TensorPlan } from '../support/gguf-file.ts'
import { eventsOf, postJson } from '../support/http.ts'
import { shortRun } from '../support/long.ts'
import { startServer, type TestServer } from '../support/server.ts'

interface Answered {
  model: string
  choices: { message: { content: string } }[]
  usage: { prompt_tokens_details: { cached_tokens: number } }
  error?: { message: string; code: string; param: string }
}

interface Chunk {
  choices: { delta: { content?: string }; finish_reason: string | null }[]
}

describe('adapters', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-adapters-'))
  const write = (id: string, plan: AdapterPlan) => writeAdapter(folder, id, plan)
  let server: TestServer
  /** Bytes of the model alone. */
  let taken = 0
  beforeAll(async () => {
    for (const [at, id] of ['one', 'two', 'three'].entries()) write(id, { seed: at + 1 })
    server = await startServer({ models: { dirs: [folder] }, engine: { maxAdapters: 3 } })
    taken = await figure('oriel_models_taken_bytes')
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

  it('more than are loaded at one time all answer, each in turn', async () => {
    const many = ['one', 'two', 'three', 'four', 'five', 'six']
    for (const [at, id] of many.entries()) if (at > 2) write(id, { seed: at + 1 })
    const alone: string[] = []
    for (const id of many) alone.push(await textOf(id))
    const asked = [...many, ...many, ...many]
    expect(await Promise.all(asked.map((id) => textOf(id)))).toEqual([...alone, ...alone, ...alone])
    expect(await figure('oriel_engine_adapters{model="pocket"}')).toBeLessThanOrEqual(3)
    // What they take counts.
    expect(await figure('oriel_models_taken_bytes')).toBeGreaterThan(taken)
  })

  it.skipIf(shortRun)(
    'are replaced while they answer: who has begun goes on with the old one, and nobody is lost',
    async () => {
      write('changing', { seed: 11, deviation: 0.2 })
      const more = { max_tokens: 32 }
      const old = await ask('changing', 'Tell a story.', more)
      write('twin', { seed: 12 })
      const next = await ask('twin', 'Tell a story.', more)
      const stream = await postJson(`${server.url}/v1/chat/completions`, {
        ...{ model: 'changing', messages: [{ role: 'user', content: 'Tell a story.' }], temperature: 0, stream: true },
        ...{ ignore_eos: true, max_tokens: 1500 },
      })
      const events = stream.text()
      write('changing', { seed: 12 })
      const during = await Promise.all(
        Array.from({ length: 6 }, (_, at) => ask(at % 2 === 0 ? 'changing' : 'pocket', 'Tell a story.', more)),
      )
      expect(during.map(({ status }) => status)).toEqual(during.map(() => 200))
      const contentOf = ({ choices }: Answered) => choices[0]?.message.content
      for (const [at, answer] of during.entries()) if (at % 2 === 0) expect(contentOf(answer)).toBe(contentOf(next))
      expect(contentOf(old)).not.toBe(contentOf(next))
      const chunks = eventsOf<Chunk>(await events)
      const streamed = chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')
      expect(streamed.startsWith(contentOf(old) ?? '?')).toBe(true)
      expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('length')
    },
  )

  it.each<[string, AdapterPlan, RegExp]>([
    ['other-shape', { tensors: (usual) => widened(usual) }, /blk\.0\.attn_q\.weight\.lora_a is 193 x 8/],
    ['other-model', { metadata: { 'general.architecture': { string: 'qwen2' } } }, /architecture qwen2.* llama/],
    ['one-half', { tensors: (usual) => usual.slice(1) }, /one half only of blk\.0\.attn_q\.weight/],
    ['no-such', { tensors: ([a, ...usual]) => renamed(a, usual) }, /blk\.9\.attn_q\.weight/],
    ['no-float', { metadata: { 'adapter.lora.alpha': { u32: 16 } } }, /adapter\.lora\.alpha.*type 4/],
    ['no-number', { metadata: { 'adapter.lora.alpha': { f32: Number.NaN } } }, /alpha is NaN/],
    ['model', { metadata: { 'general.type': { string: 'model' } } }, /not an adapter/],
    ['empty', { tensors: () => [] }, /no matrices/],
    [
      'the-output',
      { tensors: (usual) => [...usual, ...tableOf(8)] },
      /token_embd\.weight, which is the model's output/,
    ],
  ])('that are %s are refused with the reason', async (id, plan, why) => {
    write(id, plan)
    const { status, error } = await ask(`pocket#${id}`)
    expect([status, error?.param]).toEqual([412, 'model'])
    expect(error?.message).toMatch(why)
    expect(error?.message).not.toContain(folder)
    expect(await textOf('pocket')).not.toBe('')
  })

  it('with senseless numbers harm nobody', async () => {
    write('senseless', { tensors: (usual) => usual.map((tensor) => ({ ...tensor, fill: { constant: Number.NaN } })) })
    const [before] = server.engines()
    const expected = await textOf('one', 'Who are you?')
    const [, ...others] = await Promise.all([
      ask('senseless', 'Hello', { temperature: 0.7, logprobs: true }),
      ...Array.from({ length: 3 }, () => textOf('one', 'Who are you?')),
    ])
    expect(others).toEqual([expected, expected, expected])
    expect(server.engines()).toEqual([before])
  })

  it('are listed with the models, and name the one that they change', async () => {
    const listed = async (path: string) =>
      (await (await fetch(`${server.url}/v1/models${path}`)).json()) as { data: Record<string, unknown>[] } & Record<
        string,
        unknown
      >
    const { data } = await listed('')
    expect(data.map(({ id, parent, owned_by }) => [id, parent, owned_by])).toContainEqual(['one', 'pocket', 'oriel'])
    for (const entry of data) model.parse(entry)
    expect(model.parse(await listed('/accounts/me/models/two'))).toMatchObject({ id: 'two', parent: 'pocket' })
    expect((await listed('?state=not_pulled')).data.map(({ id }) => id)).not.toContain('one')
  })

  it('that do not exist are not found, and names of them reach no other files', async () => {
    for (const model of ['pocket#nobody', 'nobody#one', 'pocket#../one', 'pocket#', '#one', 'pocket#one#two'])
      expect([model, (await ask(model)).status]).toEqual([model, 404])
    const { error } = await ask('pocket#nobody')
    expect(error?.message).toMatch(/neither an adapter nor a deployment "nobody".*: .*one, .*two/)
  })

  it('answer again after the engine died', async () => {
    const expected = await textOf('two')
    const [before] = server.engines()
    server.kill()
    await vi.waitFor(() => expect(server.engines()).not.toContain(before), 30_000)
    expect(await textOf('two')).toBe(expected)
  })

  it('are in the metrics, by our names and by that of vLLM, and in the ledger', async () => {
    await ask('pocket#one')
    const text = await (await fetch(`${server.url}/metrics`)).text()
    expect(text).toMatch(/^oriel_adapter_answers_total\{model="pocket",adapter="one"\} [1-9]/m)
    expect(text).toMatch(/^vllm:lora_requests_info\{running_lora_adapters="",waiting_lora_adapters="",max_lora="3",/m)
    const usage = await (await fetch(`${server.url}/v1/usage?group_by=adapter`)).json()
    expect(JSON.stringify(usage)).toContain('"adapter":"one"')
  })

  /** Of `/metrics`. */
  const figure = async (name: string): Promise<number> => {
    const text = await (await fetch(`${server.url}/metrics`)).text()
    const line = text.split('\n').find((line) => line.startsWith(`${name} `))
    return Number(line?.split(' ').at(-1))
  }
})

/** The first half is of a matrix with one column more. */
function widened([first, ...others]: readonly TensorPlan[]): TensorPlan[] {
  if (first === undefined) throw new Error('an adapter without tensors')
  const [columns = 0, rank = 0] = first.shape
  return [{ ...first, shape: [columns + 1, rank] }, ...others]
}

const renamed = (first: TensorPlan | undefined, others: readonly TensorPlan[]): TensorPlan[] =>
  [...(first === undefined ? [] : [first]), ...others].map((tensor) => ({
    ...tensor,
    name: tensor.name.replace('blk.0.attn_q', 'blk.9.attn_q'),
  }))

/** Changes the table of tokens. */
const tableOf = (rank: number): TensorPlan[] => [
  { name: 'token_embd.weight.lora_a', shape: [rank, 840], fill: { exact: 0.1 } },
  { name: 'token_embd.weight.lora_b', shape: [rank, 192], fill: { exact: 0.1 } },
]
