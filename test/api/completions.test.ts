import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventsOf, postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { shortRun } from '../support/long.ts'
import { startServer, type TestServer } from '../support/server.ts'

let oriel: TestServer
let client: OpenAI
let red: string
let blue: string
beforeAll(async () => {
  oriel = await startServer()
  client = new OpenAI({ baseURL: `${oriel.url}/v1`, apiKey: 'none', maxRetries: 0 })
  red = dataUrl(await shape('red'))
  blue = dataUrl(await shape('blue'))
})
afterAll(() => oriel.close())

const post = (body: object, base = '/v1') =>
  postJson(`${oriel.url}${base}/completions`, { model: 'pocket', temperature: 0, ...body })

interface Body {
  object: string
  choices: {
    index: number
    text: string
    finish_reason: string
    logprobs: Record<string, unknown[]> | null
    token_ids?: number[]
    prompt_token_ids?: number[]
    raw_output?: { prompt_fragments: string[]; completion: string; completion_token_ids: number[] }
  }[]
  usage: { prompt_tokens: number; completion_tokens: number; prompt_tokens_details: { images: number[] } }
  error?: { message: string; param: string; code: string }
}
const complete = async (body: object, base?: string): Promise<Body> => (await (await post(body, base)).json()) as Body

/** The built-in model's chat format, as a caller of this API writes it out. */
const turn = (content: string): string => `<|im_start|>user\n${content}<|im_end|>\n<|im_start|>assistant\n`
const question = 'What is in this image?'

describe('completions', () => {
  it('replace <image> by an image, and answer as the chat does', async () => {
    const chat = await client.chat.completions.create({
      model: 'pocket',
      temperature: 0,
      messages: [
        {
          role: 'user',
          content: [
            { type: 'image_url', image_url: { url: red } },
            { type: 'text', text: question },
          ],
        },
      ],
    })
    const made = await complete({ prompt: turn(`<image>${question}`), images: [red], max_tokens: 64 })
    expect(made).toMatchObject({ object: 'text_completion', usage: { prompt_tokens_details: { images: [110] } } })
    expect(made.choices[0]?.text).toBe(chat.choices[0]?.message.content)
    expect(made.usage.prompt_tokens).toBe(chat.usage?.prompt_tokens)
  })

  it('return n answers to each of several prompts, each with its own images', async () => {
    const prompts = [turn(`<image>${question}`), turn('Hello'), turn(`<image><image>${question}`)]
    const images = [[red], [], [red, blue]]
    const alone = await Promise.all(
      prompts.map((prompt, index) => complete({ prompt, images: images[index], max_tokens: 12 })),
    )
    const all = await complete({ prompt: prompts, images, n: 2, max_tokens: 12 })
    expect(all.choices.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5])
    for (const [index, { choices }] of alone.entries())
      for (const copy of [0, 1]) expect(all.choices[index * 2 + copy]?.text).toBe(choices[0]?.text)
    expect(all.usage.prompt_tokens).toBe(alone.reduce((sum, { usage }) => sum + usage.prompt_tokens, 0))
    expect(all.usage.prompt_tokens_details.images).toEqual([110, 110, 110])
  })

  it('answer many prompts without a warning about leaked listeners', async () => {
    const warnings: string[] = []
    const warned = ({ message }: Error) => void warnings.push(message)
    process.on('warning', warned)
    const { choices } = await complete({ prompt: Array(20).fill('Hello'), max_tokens: 1 })
    await new Promise(setImmediate)
    process.off('warning', warned)
    expect([choices.length, warnings]).toEqual([20, []])
  })

  it('accept token ids, as one prompt or several', async () => {
    const text = await complete({ prompt: turn('Hello'), max_tokens: 8, return_token_ids: true })
    const ids = text.choices[0]?.prompt_token_ids ?? []
    expect(ids.length).toBe(text.usage.prompt_tokens)
    const fromIds = await complete({ prompt: ids, max_tokens: 8 })
    expect(fromIds.choices[0]?.text).toBe(text.choices[0]?.text)
    const both = await complete({ prompt: [ids, ids], max_tokens: 8 })
    expect(both.choices.map((choice) => choice.text)).toEqual([text.choices[0]?.text, text.choices[0]?.text])
  })

  it('stream the same answers to several prompts as they return whole', async () => {
    const body = { model: 'pocket', temperature: 0, max_tokens: 12, prompt: [turn('Hello'), turn(question)] }
    const told = { ...body, return_token_ids: true, raw_output: true }
    const whole = (await complete(told)) as Body
    const [raws, prompts] = [[] as unknown[], [] as unknown[]]
    const texts = ['', '']
    const ends: (string | null)[] = []
    for (const chunk of eventsOf<Body>(await (await post({ ...told, stream: true })).text()))
      for (const { index, text, finish_reason, raw_output, prompt_token_ids } of chunk.choices) {
        texts[index] += text
        if (finish_reason !== null) ends[index] = finish_reason
        if (raw_output !== undefined) raws[index] = raw_output
        if (prompt_token_ids !== undefined) prompts[index] = prompt_token_ids
      }
    expect(texts).toEqual(whole.choices.map(({ text }) => text))
    expect(ends).toEqual(whole.choices.map(({ finish_reason }) => finish_reason))
    expect(raws).toEqual(whole.choices.map(({ raw_output }) => raw_output))
    expect(prompts).toEqual(whole.choices.map(({ prompt_token_ids }) => prompt_token_ids))
    expect(whole.choices.map(({ raw_output }) => raw_output?.prompt_fragments[0])).toEqual(body.prompt)
  })

  it('echo the whole prompt or its last tokens', async () => {
    const plain = await complete({ prompt: 'The colour is', max_tokens: 4 })
    const echoed = await complete({ prompt: 'The colour is', max_tokens: 4, echo: true })
    expect(echoed.choices[0]?.text).toBe(`The colour is${plain.choices[0]?.text}`)
    const image = await complete({ prompt: 'A<image>B', images: [red], max_tokens: 1, echo: true })
    expect(image.choices[0]?.text).toMatch(/^A<image>B/)
    const last = await complete({ prompt: 'The colour is', max_tokens: 4, echo_last: 1 })
    expect('The colour is').toContain(last.choices[0]?.text.slice(0, -(plain.choices[0]?.text.length ?? 0)))
  })

  it('may have no tokens of their own, beside an echoed prompt', async () => {
    const body = { prompt: 'The colour is', max_tokens: 0, echo: true, logprobs: 1 }
    for (const n of [1, 3]) {
      const { choices, usage } = await complete({ ...body, n })
      expect(choices.map(({ text, finish_reason }) => [text, finish_reason])).toEqual(
        Array(n).fill(['The colour is', 'length']),
      )
      expect(usage.completion_tokens).toBe(0)
      for (const { logprobs } of choices) expect(logprobs?.token_logprobs).toHaveLength(usage.prompt_tokens)
    }
    for (const name of ['max_tokens', 'max_completion_tokens', 'n_predict']) {
      const { choices } = await complete({ prompt: 'The colour is', [name]: 0 })
      expect(choices).toMatchObject([{ text: '', finish_reason: 'length' }])
    }
    const text = await (await post({ ...body, stream: true })).text()
    const parts = eventsOf<Body>(text).flatMap((chunk) => chunk.choices.map((choice) => choice.text))
    expect(parts.join('')).toBe('The colour is')
  })

  it('tell log probabilities of a long prompt part by part, with characters of several tokens', async () => {
    const prompt = 'Café ☕ 東京. '.repeat(60)
    const body = { prompt, max_tokens: 0, echo: true, logprobs: 2 }
    const { choices, usage } = await complete({ ...body, n: 2 })
    for (const { text, logprobs } of choices) {
      expect(text).toBe(prompt)
      const [first, ...others] = logprobs?.token_logprobs ?? []
      expect([first, others.length]).toEqual([null, usage.prompt_tokens - 1])
      expect(others.every((one) => Number(one) < 0)).toBe(true)
    }
    const chunks = eventsOf<Body>(await (await post({ ...body, stream: true })).text()).flatMap(
      ({ choices }) => choices,
    )
    expect(chunks.map(({ text }) => text).join('')).toBe(prompt)
    expect(chunks.filter(({ logprobs }) => (logprobs?.tokens?.length ?? 0) > 0).length).toBeGreaterThan(1)
    const told = chunks.flatMap(({ logprobs }) => logprobs?.token_logprobs ?? [])
    expect([told[0], told.length]).toEqual([null, usage.prompt_tokens])
  })

  it.skipIf(shortRun)('are refused if they have more log probabilities than a server can hold, and stop', async () => {
    const body = {
      prompt: ['a', 'b'].map((letter) => `${letter} `.repeat(3000)),
      max_tokens: 0,
      echo: true,
      logprobs: 5,
      n: 32,
    }
    const response = await post(body)
    expect(response.status).toBe(400)
    const { error } = (await response.json()) as { error: unknown }
    expect(error).toMatchObject({ code: 'answer_too_large' })
    expect((await complete({ prompt: turn('Hello'), max_tokens: 2 })).choices).toHaveLength(1)
  })

  it('return the n most likely of best_of answers', async () => {
    const body = { prompt: turn('Hello'), temperature: 1, seed: 3, max_tokens: 10 }
    const { choices, usage } = await complete({ ...body, n: 2, best_of: 5 })
    const all = await complete({ ...body, n: 5 })
    expect(choices.map(({ index }) => index)).toEqual([0, 1])
    for (const { text } of choices) expect(all.choices.map((choice) => choice.text)).toContain(text)
    expect(usage.completion_tokens).toBe(all.usage.completion_tokens)
  })

  it('are ranked by what they say, whatever the prompt is that they echo', async () => {
    const body = { prompt: turn('Hello'), temperature: 1.4, seed: 3, max_tokens: 12, n: 1, best_of: 6 }
    const [plain, echoed] = [
      await complete({ ...body, logprobs: 0 }),
      await complete({ ...body, logprobs: 0, echo: true }),
    ]
    expect(echoed.choices[0]?.text).toBe(body.prompt + plain.choices[0]?.text)
  })

  it('return log probabilities in the format of completions', async () => {
    const { choices } = await complete({ prompt: turn('Hello'), max_tokens: 6, logprobs: 2 })
    const logprobs = choices[0]?.logprobs ?? {}
    const text = choices[0]?.text ?? ''
    const [tokens, offsets] = [logprobs.tokens as string[], logprobs.text_offset as number[]]
    expect(tokens.join('')).toBe(text)
    for (const [index, offset] of offsets.entries()) expect(text.slice(offset)).toMatch(tokens[index] ?? '')
    expect((logprobs.top_logprobs ?? []).every((top) => Object.keys(top as object).length === 2)).toBe(true)
  })

  it('count offsets from the start of the text, where an echo comes before the tokens', async () => {
    const { choices } = await complete({ prompt: turn('Hello'), max_tokens: 6, logprobs: 1, echo_last: 5 })
    const { tokens = [], text_offset = [] } = choices[0]?.logprobs ?? {}
    const text = choices[0]?.text ?? ''
    expect(text.length).toBeGreaterThan(tokens.join('').length)
    expect(text_offset[0]).toBe(text.length - tokens.join('').length)
    const chat = await postJson(`${oriel.url}/v1/chat/completions`, {
      ...{ model: 'pocket', max_tokens: 6, logprobs: 1, echo: true },
      messages: [{ role: 'user', content: 'Hello' }],
    })
    const [choice] = ((await chat.json()) as { choices: (Body['choices'][0] & { message: { content: string } })[] })
      .choices
    const said = choice?.message.content ?? ''
    expect(choice?.logprobs?.text_offset?.[0]).toBe(said.length - (choice?.logprobs?.tokens?.join('').length ?? 0))
  })

  it('return the log probabilities of an echoed prompt, equal to those of the same text when generated', async () => {
    const said = await complete({ prompt: turn('Hello'), max_tokens: 6, logprobs: 1, return_token_ids: true })
    const own = (said.choices[0]?.logprobs?.token_logprobs ?? []) as number[]
    const ids = [...(said.choices[0]?.prompt_token_ids ?? []), ...(said.choices[0]?.token_ids ?? [])]
    expect(own.length).toBeGreaterThan(2)
    // Twice: what was computed before must not be missing.
    for (let again = 0; again < 2; again++) {
      const { choices } = await complete({ prompt: ids, max_tokens: 1, logprobs: 1, echo: true })
      const { tokens = [], token_logprobs = [], text_offset = [] } = choices[0]?.logprobs ?? {}
      expect(tokens.join('')).toBe(choices[0]?.text)
      expect(text_offset).toHaveLength(tokens.length)
      expect(token_logprobs[0]).toBeNull()
      expect(token_logprobs.slice(1).every((logprob) => typeof logprob === 'number')).toBe(true)
      const asPrompt = token_logprobs.slice(ids.length - own.length, ids.length) as number[]
      for (const [index, logprob] of own.entries()) expect(asPrompt[index]).toBeCloseTo(logprob, 1)
    }
  })

  it('return the log probabilities of a prompt that is prefilled in several steps', async () => {
    const { choices } = await complete({ prompt: 'A red circle. '.repeat(150), max_tokens: 1, logprobs: 0, echo: true })
    const { token_logprobs = [] } = choices[0]?.logprobs ?? {}
    expect(token_logprobs.length).toBeGreaterThan(500)
    expect(token_logprobs.slice(1).every((logprob) => typeof logprob === 'number')).toBe(true)
  })

  it('return no log probability for an image', async () => {
    const body = { prompt: 'A<image>B c', images: [red], max_tokens: 2, logprobs: 0, echo: true }
    const { choices } = await complete(body)
    const { tokens = [], token_logprobs = [] } = choices[0]?.logprobs ?? {}
    const image = tokens.indexOf('<image>')
    expect(tokens.filter((token) => token === '<image>')).toHaveLength(1)
    expect(token_logprobs[image]).toBeNull()
    expect(token_logprobs.at(-1)).toEqual(expect.any(Number))
    const chunks = eventsOf<Body>(await (await post({ ...body, stream: true })).text())
    expect(chunks.flatMap((chunk) => chunk.choices[0]?.logprobs?.tokens ?? [])).toEqual(tokens)
  })

  it('return the raw prompt and output', async () => {
    const { choices } = await complete({
      prompt: 'A<image>B',
      images: [red],
      max_tokens: 3,
      ignore_eos: true,
      raw_output: true,
    })
    expect(choices[0]?.raw_output).toMatchObject({
      prompt_fragments: ['A<image>B'],
      completion: choices[0]?.text,
      completion_token_ids: [expect.any(Number), expect.any(Number), expect.any(Number)],
    })
  })

  it.skipIf(shortRun)(
    "default to 16 tokens under OpenAI's base, and to the end of the context under Fireworks'",
    async () => {
      const endless = { prompt: 'Hello', ignore_eos: true }
      expect((await complete(endless)).usage.completion_tokens).toBe(16)
      const { choices, usage } = await complete({ ...endless, max_tokens: null }, '/inference/v1')
      expect([choices[0]?.finish_reason, usage.prompt_tokens + usage.completion_tokens]).toEqual(['length', 4096])
    },
  )

  it.each([
    [
      'one image too few',
      { prompt: '<image> and <image>', images: ['x'] },
      'images',
      /2 <image> markers, but images has 1 image:/,
    ],
    [
      'one image too many',
      { prompt: 'no marker', images: ['x'] },
      'images',
      /0 <image> markers, but images has 1 image:/,
    ],
    [
      'more markers than a prompt may have',
      { prompt: `${'<image>'.repeat(1500)} and the end`, images: Array.from({ length: 1000 }, () => 'x') },
      'prompt',
      /prompt has more than 1000 <image> markers; the limit is 1000/,
    ],
    [
      'one marker more than images, at the limit of markers',
      { prompt: `${'<image>'.repeat(1000)} and the end`, images: Array.from({ length: 999 }, () => 'x') },
      'images',
      /1000 <image> markers, but images has 999 images:/,
    ],
    ['markers without images', { prompt: '<image>' }, 'images', /1 <image> marker, but images has 0 images/],
    [
      'one list of images for two prompts',
      { prompt: ['<image>', '<image>'], images: ['x', 'y'] },
      'images',
      /one list of images for 2 prompts/,
    ],
    ['images with a prompt of token ids', { prompt: [1, 2], images: ['x'] }, 'images', /images need a text prompt/],
    [
      'an empty image of the second prompt',
      { prompt: ['a', '<image>'], images: [[], ['data:,']] },
      'images[1][0]',
      /data URL is malformed/,
    ],
    ['an unknown token id', { prompt: [999_999] }, 'prompt', /Token 999999 is not in this model's vocabulary/],
    ['top_logprobs without logprobs', { prompt: 'a', top_logprobs: 2 }, 'top_logprobs', /requires logprobs/],
    ['a suffix', { prompt: 'a', suffix: 'b' }, 'suffix', /only the end of a text can be completed/],
    ['a best_of below n', { prompt: 'a', n: 3, best_of: 2 }, 'best_of', /at least n/],
    ['a best_of in a stream', { prompt: 'a', best_of: 2, stream: true }, 'best_of', /cannot be streamed/],
    [
      'a best_of above what the model generates',
      { prompt: 'a', best_of: 50 },
      'best_of',
      /at most 32 answers.*found 50/,
    ],
    ['no prompt', {}, 'prompt', /must be a string, an array/],
    ['a negative token', { prompt: [1, -1] }, 'prompt[1]', /must be the id of a token: 0, 1, 2 and so on; found -1/],
    ['too many prompts', { prompt: Array.from({ length: 129 }, () => 'a') }, 'prompt', /129 prompts; the limit is 128/],
    ['an empty prompt', { prompt: '' }, 'prompt', /prompt is empty/],
    ['a prompt longer than the context', { prompt: 'word '.repeat(6000) }, 'prompt', /holds 4096 tokens/],
  ])('refuse %s', async (_, body, param, says) => {
    const response = await post(body)
    const { error } = (await response.json()) as Body
    expect(error?.message).toMatch(says)
    expect({ status: response.status, param: error?.param }).toEqual({ status: 400, param })
  })
})
