import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { accountModel, accountModelList } from '../../src/api/control/models.ts'
import { postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { startWords } from '../support/scripted.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let client: OpenAI
let red: string
beforeAll(async () => {
  server = await startServer()
  client = new OpenAI({ baseURL: server.url, apiKey: 'none', maxRetries: 0 })
  red = dataUrl(await shape('red'))
})
afterAll(() => server.close())

const report = {
  name: 'report',
  parameters: {
    type: 'object',
    properties: { colour: { type: 'string', enum: ['red', 'green', 'blue'] } },
    required: ['colour'],
    additionalProperties: false,
  },
}
const asked = () => ({
  model: 'pocket',
  max_tokens: 200,
  messages: [
    {
      role: 'user' as const,
      content: [
        { type: 'image_url' as const, image_url: { url: red } },
        { type: 'text' as const, text: 'Report the color.' },
      ],
    },
  ],
})

describe('a client that knows functions and no tools', () => {
  it('gets a function_call, whole and streamed', async () => {
    const body = { ...asked(), functions: [report], function_call: { name: 'report' } }
    const { choices } = await client.chat.completions.create(body)
    expect(choices).toMatchObject([
      { finish_reason: 'function_call', message: { content: null, function_call: { name: 'report' } } },
    ])
    expect(choices[0]?.message).not.toHaveProperty('tool_calls')
    expect(JSON.parse(choices[0]?.message.function_call?.arguments ?? '')).toEqual({ colour: expect.any(String) })
    const call = { name: '', arguments: '' }
    const reasons: unknown[] = []
    for await (const { choices } of await client.chat.completions.create({ ...body, stream: true }))
      for (const { delta, finish_reason } of choices) {
        call.name += delta.function_call?.name ?? ''
        call.arguments += delta.function_call?.arguments ?? ''
        reasons.push(finish_reason)
      }
    expect([call.name, Object.keys(JSON.parse(call.arguments))]).toEqual(['report', ['colour']])
    expect(reasons.at(-1)).toBe('function_call')
  })

  it('sends the result as a message of the role function', async () => {
    const { url, close, promptText } = await startWords(['Good.'])
    try {
      const answer = await postJson(`${url}/v1/chat/completions`, {
        model: 'scripted',
        functions: [report],
        messages: [
          { role: 'user', content: 'Report it.' },
          { role: 'assistant', content: null, function_call: { name: 'report', arguments: '{"colour": "red"}' } },
          { role: 'function', name: 'report', content: 'reported' },
        ],
      })
      expect(answer.status).toBe(200)
      expect(promptText()).toMatch(/"name":"report","arguments":\{"colour":"red"\}.*<tool_response>\nreported/s)
    } finally {
      await close()
    }
  })

  it.each([
    [{ functions: [report, report] }, 'functions', 'functions has two functions named "report".'],
    [{ functions: [report], function_call: { name: 'no' } }, 'function_call', 'which is not in functions'],
    [{ functions: [report], tools: [] }, 'functions', 'functions and tools are both present'],
    [
      { functions: [report], function_call: { name: 'report' }, response_format: { type: 'json_object' } },
      'response_format',
      'response_format and a function_call that requires a call cannot be combined: send one of them.',
    ],
    [
      { functions: [{ name: 'a', parameters: { type: 3 } }], function_call: { name: 'a' } },
      'functions[0].parameters',
      '',
    ],
  ])('is refused in its own words: %j', async (more, param, message) => {
    const answer = await postJson(`${server.url}/v1/chat/completions`, { ...asked(), ...more })
    expect([answer.status, await answer.json()]).toMatchObject([
      400,
      { error: { param, message: expect.stringContaining(message) } },
    ])
  })
})

describe("Fireworks' clients", () => {
  it('list the models of an account, page by page', async () => {
    for (const base of ['/v1', '/inference/v1']) {
      const list = await (await fetch(`${server.url}${base}/accounts/fireworks/models?pageSize=1`)).json()
      const { models, nextPageToken } = accountModelList.parse(list)
      expect([models, nextPageToken]).toMatchObject([
        [{ name: 'accounts/fireworks/models/pocket', state: 'READY', contextLength: 4096, supportsImageInput: true }],
        '',
      ])
    }
    const past = await fetch(`${server.url}/v1/accounts/fireworks/models?pageToken=9`)
    expect([past.status, await past.json()]).toMatchObject([400, { error: { object: 'error', param: 'pageToken' } }])
  })

  it('get one model by its name, and ask it', async () => {
    const one = await (await fetch(`${server.url}/v1/accounts/me/models/pocket`)).json()
    const { name } = accountModel.parse(one)
    expect(name).toBe('accounts/me/models/pocket')
    expect(await client.chat.completions.create({ ...asked(), model: name })).toMatchObject({ model: name })
    const missing = await fetch(`${server.url}/v1/accounts/me/models/none`)
    expect([missing.status, await missing.json()]).toMatchObject([404, { error: { object: 'error' } }])
  })

  it('leave max_tokens out of messages, which only they may', async () => {
    const body = { model: 'pocket', messages: [{ role: 'user', content: 'Hello' }] }
    expect((await postJson(`${server.url}/inference/v1/messages`, body)).status).toBe(200)
    const refused = await postJson(`${server.url}/v1/messages`, body)
    expect([refused.status, await refused.json()]).toMatchObject([
      400,
      { error: { message: 'max_tokens must be a number; found nothing.' } },
    ])
  })
})

describe('a request', () => {
  it('for more tokens than fit is refused with the number that would fit, which then does', async () => {
    const messages = [{ role: 'user' as const, content: 'Hello' }]
    const most = await client.chat.completions
      .create({ model: 'pocket', messages, max_tokens: 5000 })
      .catch((error: Error) => {
        return Number(/at most (\d+) would fit/.exec(error.message)?.[1])
      })
    expect(
      await client.chat.completions.create({ model: 'pocket', messages, max_tokens: most as number }),
    ).toMatchObject({
      choices: [{ finish_reason: 'stop' }],
    })
  })

  it('may leave /v1 out of its URL', async () => {
    const { data } = await client.models.list()
    expect(data).toMatchObject([{ id: 'pocket' }])
    for (const path of ['/completions', '/responses', '/messages', '/tokenize']) {
      const answer = await postJson(server.url + path, {
        model: 'none',
        prompt: 'a',
        input: 'a',
        max_tokens: 1,
        messages: [],
      })
      expect([400, 404]).toContain(answer.status)
      expect(JSON.stringify(await answer.json())).not.toContain('Unknown URL')
    }
  })
})

describe('a client of vLLM or of llama.cpp', () => {
  const ask = async (more: object, path = '/chat/completions') => {
    const answer = await postJson(server.url + path, { ...asked(), temperature: 0, ...more })
    const body = (await answer.json()) as {
      choices: {
        message: { content: string }
        text: string
        finish_reason: string
        logprobs: { content: { logprob: number; top_logprobs: { logprob: number }[] }[] }
      }[]
      usage: { completion_tokens: number; prompt_tokens_details: { cached_tokens: number } }
      error: { param: string; message: string }
    }
    return { status: answer.status, header: answer.headers.get('x-oriel-ignored-parameters'), ...body }
  }
  const textOf = ({ choices }: Awaited<ReturnType<typeof ask>>) => choices[0]?.message.content ?? ''
  const schema = report.parameters

  it.each([
    { guided_json: schema },
    { guided_json: JSON.stringify(schema) },
    { json_schema: schema },
    { structured_outputs: { json: schema } },
  ])('holds an answer to a schema: %j', async (format) => {
    expect(Object.keys(JSON.parse(textOf(await ask(format))))).toEqual(['colour'])
  })

  it.each([
    { grammar: 'root ::= "yes" | "no"' },
    { guided_grammar: 'root ::= "yes" | "no"' },
    { structured_outputs: { grammar: 'root ::= "yes" | "no"' } },
    { guided_choice: ['yes', 'no'] },
    { structured_outputs: { choice: ['yes', 'no'] } },
    { guided_regex: '(yes|no)' },
    { guided_regex: '^(?P<answer>yes|no)$' },
    { structured_outputs: { regex: 'yes|no' } },
  ])('holds an answer to a grammar or a choice: %j', async (format) => {
    expect(textOf(await ask(format))).toMatch(/^(yes|no)$/)
  })

  it.each([
    [{ guided_json: '{' }, 'guided_json', 'is not a JSON Schema'],
    [{ guided_json: { type: 3 } }, 'guided_json', ''],
    [{ guided_choice: [] }, 'guided_choice', 'at least 1 item'],
    [{ guided_regex: 'a(?=b)' }, 'guided_regex', 'it cannot be read beyond its character 3'],
    [{ structured_outputs: { regex: '(a' } }, 'structured_outputs.regex', 'cannot be used'],
    [{ guided_regex: 'a'.repeat(2001) }, 'guided_regex', 'it has 2001 characters; at most 2000'],
    [
      { guided_regex: 'a', guided_choice: ['a'] },
      'guided_choice',
      'guided_regex and guided_choice both set the format',
    ],
    [{ structured_outputs: { structural_tag: '{}' } }, 'structured_outputs.structural_tag', 'is not supported'],
    [{ grammar: 'root ::= (' }, 'grammar', ''],
    [{ structured_outputs: { json: { type: 3 } } }, 'structured_outputs.json', ''],
    [{ guided_json: schema, grammar: 'root ::= "a"' }, 'grammar', 'guided_json and grammar both set the format'],
    [{ min_tokens: 9, max_tokens: 3 }, 'min_tokens', 'min_tokens is 9, and at most 3 tokens are allowed.'],
    [{ n_predict: 5 }, 'max_tokens', 'max_tokens is 200 and n_predict is 5, but they mean the same'],
    [{ repeat_penalty: 1.1, repetition_penalty: 1 }, 'repetition_penalty', 'they mean the same'],
  ])('is refused in its own words: %j', async (more, param, message) => {
    const { status, error } = await ask(more)
    expect([status, error]).toMatchObject([400, { param, message: expect.stringContaining(message) }])
  })

  it('chooses among texts with any characters', async () => {
    const odd = 'a "b" \\ c\n\u007f\u0085é🙂'
    expect(textOf(await ask({ guided_choice: [odd] }))).toBe(odd)
  })

  it('sets the least number of tokens, tokens that end an answer, and whether the answer has its stop string', async () => {
    const whole = await ask({})
    const most = whole.usage.completion_tokens
    const longer = await ask({ min_tokens: most + 3, logprobs: true, top_logprobs: 5 })
    // The model's own probabilities, also of tokens that may not end the answer yet.
    const chances = longer.choices[0]?.logprobs.content.flatMap((token) => [token, ...token.top_logprobs]) ?? []
    expect(chances.length).toBeGreaterThan(most)
    for (const { logprob } of chances) expect(logprob).toBeGreaterThan(-1000)
    expect(longer.usage.completion_tokens).toBeGreaterThanOrEqual(most + 3)
    expect(textOf(longer).startsWith(textOf(whole))).toBe(true)
    // A stop string ends no answer that has fewer.
    const stopped = await ask({ min_tokens: most - 1, stop: [' circle'] })
    expect(stopped.usage.completion_tokens).toBeGreaterThanOrEqual(most - 1)
    expect(textOf(stopped)).toContain(' circle')
    const tokens = (await (
      await postJson(`${server.url}/tokenize`, { model: 'pocket', prompt: ' circle' })
    ).json()) as {
      tokens: number[]
    }
    const described = {
      messages: [
        {
          role: 'user',
          content: [
            { type: 'image_url', image_url: red },
            { type: 'text', text: 'What is in this image?' },
          ],
        },
      ],
    }
    expect(textOf(await ask({ ...described, stop_token_ids: tokens.tokens }))).toBe('A red')
    expect(textOf(await ask({ ...described, stop: ' circle' }))).toBe('A red')
    const including = { ...described, stop: ' circle', include_stop_str_in_output: true }
    expect(textOf(await ask(including))).toBe('A red circle')
  })

  it('has other names for what OpenAI has', async () => {
    const { max_tokens: _, ...plain } = asked()
    const short = { ...plain, n_predict: 2, repeat_penalty: 1.1, cache_prompt: false }
    const answer = await postJson(`${server.url}/chat/completions`, short)
    expect(answer.headers.get('x-oriel-ignored-parameters')).toBeNull()
    expect(JSON.parse(answer.headers.get('fireworks-sampling-options') ?? '')).toMatchObject({
      repetition_penalty: 1.1,
    })
    expect(await answer.json()).toMatchObject({
      usage: { completion_tokens: 2, prompt_tokens_details: { cached_tokens: 0 } },
    })
    const completed = await ask(
      { prompt: 'Hello', max_tokens: null, n_predict: 3, messages: undefined },
      '/completions',
    )
    expect(completed.usage.completion_tokens).toBeLessThanOrEqual(3)
    expect((await ask({ skip_special_tokens: true })).header).toBe('skip_special_tokens')
  })

  it('has -1 for no bound, of tokens and of top_k', async () => {
    const words = await startWords(['Hello'])
    const bodies = [
      ...['max_tokens', 'max_completion_tokens', 'n_predict'].map((name) => [name, '/v1/chat/completions'] as const),
      ...['max_tokens', 'n_predict'].map((name) => [name, '/v1/completions'] as const),
    ]
    for (const [name, place] of bodies) {
      const asks = place === '/v1/completions' ? { prompt: 'Hi' } : { messages: [{ role: 'user', content: 'Hi' }] }
      const body = { model: 'scripted', ...asks, [name]: -1, top_k: -1 }
      expect([place, name, (await postJson(words.url + place, body)).status]).toEqual([place, name, 200])
    }
    const bounds = words.asked.map(({ maxTokens, sampling }) => [maxTokens, sampling.topK])
    expect(bounds).toEqual(bodies.map(() => [null, 0]))
    const refused = await postJson(`${words.url}/v1/completions`, { model: 'scripted', prompt: 'Hi', n_predict: '5' })
    expect(await refused.json()).toMatchObject({ error: { message: expect.stringContaining('must be a number') } })
    await words.close()
  })
})
