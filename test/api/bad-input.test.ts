import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { startServer, type TestServer } from '../support/server.ts'

let oriel: TestServer
beforeAll(async () => {
  oriel = await startServer()
})
afterAll(() => oriel.close())

const post = (body: string, headers: Record<string, string> = { 'content-type': 'application/json' }) =>
  fetch(`${oriel.url}/v1/chat/completions`, { method: 'POST', headers, body })

const chat = (over: object = {}) => ({ model: 'pocket', messages: [{ role: 'user', content: 'Hello' }], ...over })
const withImage = (url: unknown) =>
  chat({
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Hi' },
          { type: 'image_url', image_url: { url } },
        ],
      },
    ],
  })

const weather = { type: 'function', function: { name: 'get_weather', parameters: { type: 'object', properties: {} } } }

interface Refusal {
  status: number
  error: { message: string; type: string; param: string | null; code: string | null }
}

async function refusal(response: Response): Promise<Refusal> {
  const body = (await response.json()) as { error: Refusal['error'] }
  return { status: response.status, error: body.error }
}

const refused = async (body: unknown): Promise<Refusal> => refusal(await post(JSON.stringify(body)))

describe('a request that is not valid', () => {
  const wrong: [
    what: string,
    body: () => unknown | Promise<unknown>,
    status: number,
    param: string | null,
    says: RegExp,
  ][] = [
    ['no messages', () => ({ model: 'pocket' }), 400, 'messages', /messages must be an array; found nothing/],
    ['empty messages', () => chat({ messages: [] }), 400, 'messages', /at least 1 item; found an empty array/],
    ['no model', () => ({ messages: [{ role: 'user', content: 'Hi' }] }), 400, 'model', /model must be a string/],
    [
      'an unknown model',
      () => chat({ model: 'gpt-5' }),
      404,
      'model',
      /"gpt-5" was not found\. The models are: pocket/,
    ],
    [
      'an unknown role',
      () => chat({ messages: [{ role: 'robot', content: 'Hi' }] }),
      400,
      'messages[0].role',
      /"system", .*"tool" or "function"; found "robot"/,
    ],
    [
      'content of a wrong type',
      () => chat({ messages: [{ role: 'user', content: 7 }] }),
      400,
      'messages[0].content',
      /found 7/,
    ],
    [
      'an unknown part',
      () => chat({ messages: [{ role: 'user', content: [{ type: 'hologram' }] }] }),
      400,
      'messages[0].content[0].type',
      /must be "text", "image_url".*found "hologram"/,
    ],
    [
      'a video',
      () => chat({ messages: [{ role: 'user', content: [{ type: 'video_url', video_url: { url: 'x' } }] }] }),
      400,
      'messages[0].content[0].video_url',
      /The model pocket does not accept video/,
    ],
    [
      'an image URL that is a number',
      () => withImage(5),
      400,
      'messages[0].content[1].image_url.url',
      /must be a string.*found 5/,
    ],
    [
      'a very long choice of pages',
      () => {
        const url = 'data:image/png;base64,AA'
        const part = { type: 'image_url', image_url: { url, pages: '1,'.repeat(501) } }
        return chat({ messages: [{ role: 'user', content: [part] }] })
      },
      400,
      'messages[0].content[0].image_url.pages',
      /at most 1000 characters; found a string of 1002 characters/,
    ],
    ['many stop texts', () => chat({ stop: Array(17).fill('a') }), 400, 'stop', /at most 16 items; found 17 items/],
    [
      'a long stop text',
      () => chat({ stop: ['END', 'a'.repeat(1001)] }),
      400,
      'stop[1]',
      /stop\[1\] must have at most 1000 characters; found a string of 1001 characters/,
    ],
    [
      'a long stop text alone',
      () => chat({ stop: 'a'.repeat(1001) }),
      400,
      'stop',
      /stop must have at most 1000 characters; found a string of 1001 characters/,
    ],
    ['a bias of no token', () => chat({ logit_bias: { a: 1 } }), 400, 'logit_bias.a', /a token id; found "a"/],
    [
      'many template variables',
      () => chat({ chat_template_kwargs: Object.fromEntries(Array.from({ length: 101 }, (_, at) => [`v${at}`, at])) }),
      400,
      'chat_template_kwargs',
      /must have at most 100 pairs/,
    ],
    [
      'a choice of very many tools',
      () =>
        chat({
          tools: [weather],
          tool_choice: {
            type: 'allowed_tools',
            allowed_tools: { mode: 'auto', tools: Array(1025).fill({ type: 'function', function: { name: 'a' } }) },
          },
        }),
      400,
      'tool_choice.allowed_tools.tools',
      /at most 1024 items; found 1025 items/,
    ],
    [
      'a choice of a tool with a very long name',
      () => chat({ tools: [weather], tool_choice: { type: 'function', function: { name: 'a'.repeat(257) } } }),
      400,
      'tool_choice.function.name',
      /at most 256 characters; found a string of 257 characters/,
    ],
    ['max_tokens 0', () => chat({ max_tokens: 0 }), 400, 'max_tokens', /max_tokens must be at least 1; found 0/],
    [
      'two different bounds',
      () => chat({ max_tokens: 5, max_completion_tokens: 6 }),
      400,
      'max_tokens',
      /send one of them/,
    ],
    ['a negative temperature', () => chat({ temperature: -1 }), 400, 'temperature', /at least 0; found -1/],
    [
      'a temperature that is a string',
      () => chat({ temperature: 'hot' }),
      400,
      'temperature',
      /a number; found a string of 3 characters/,
    ],
    [
      'a stream that is not a boolean',
      () => chat({ stream: 'yes' }),
      400,
      'stream',
      /a boolean; found a string of 3 characters/,
    ],
    [
      'a tool without a function',
      () => chat({ tools: [{ type: 'function' }] }),
      400,
      'tools[0].function',
      /must be an object; found nothing/,
    ],
    [
      'a required call without tools',
      () => chat({ tool_choice: 'required' }),
      400,
      'tool_choice',
      /there are no tools/,
    ],
    [
      'a tool_choice that names an unknown tool',
      () => chat({ tools: [weather], tool_choice: { type: 'function', function: { name: 'add' } } }),
      400,
      'tool_choice',
      /names "add", which is not in tools; tools has get_weather/,
    ],
    [
      'two tools with the same name',
      () => chat({ tools: [weather, weather] }),
      400,
      'tools',
      /two functions named "get_weather"/,
    ],
    [
      'a required call together with a response_format',
      () => chat({ tools: [weather], tool_choice: 'required', response_format: { type: 'json_object' } }),
      400,
      'response_format',
      /send one of them/,
    ],
    [
      'a required call whose schema has no grammar',
      () =>
        chat({
          tools: [weather, { type: 'function', function: { name: 'odd', parameters: { not: {} } } }],
          tool_choice: { type: 'function', function: { name: 'odd' } },
        }),
      400,
      'tools[1].function.parameters',
      /: tools\[1\]\.function\.parameters allows nothing/,
    ],
    [
      'an unknown response_format',
      () => chat({ response_format: { type: 'json' } }),
      400,
      'response_format.type',
      /must be "text", "json_object", "json_schema" or "grammar"; found "json"/,
    ],
    [
      'functions beside tools, which have replaced them',
      () => chat({ functions: [{ name: 'add' }], tools: [] }),
      400,
      'functions',
      /send tools/,
    ],
    [
      'a prompt that cannot be truncated enough',
      () => chat({ prompt_truncate_len: 2 }),
      400,
      'prompt_truncate_len',
      /last message alone makes a prompt of \d+ tokens/,
    ],
    [
      'a broken grammar',
      () => chat({ response_format: { type: 'grammar', grammar: 'root ::= (' } }),
      400,
      'response_format',
      /GBNF/,
    ],
    [
      'a prompt longer than the context',
      () => chat({ messages: [{ role: 'user', content: 'word '.repeat(6000) }] }),
      400,
      'messages',
      /holds 4096 tokens\. The prompt has \d+\./,
    ],
    [
      'data that is not an image',
      () => withImage(dataUrl(Buffer.from('this is not an image'))),
      415,
      'messages[0].content[1].image_url',
      /png, jpeg/,
    ],
    [
      'a web page',
      () => withImage(dataUrl(Buffer.from('<!DOCTYPE html><html></html>'))),
      415,
      'messages[0].content[1].image_url',
      /web page/,
    ],
    [
      'an SVG',
      () => withImage(dataUrl(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'))),
      415,
      'messages[0].content[1].image_url',
      /SVG/,
    ],
    [
      'a truncated PNG',
      async () => withImage(dataUrl((await shape('red')).subarray(0, 300))),
      422,
      'messages[0].content[1].image_url',
      /damaged or incomplete/,
    ],
    [
      'base64 with a stray character',
      () => withImage('data:image/png;base64,iVBO*w0KGgo='),
      400,
      'messages[0].content[1].image_url',
      /character 5 .*"\*"/,
    ],
    [
      'a data URL without data',
      () => withImage('data:image/png;base64,'),
      400,
      'messages[0].content[1].image_url',
      /the data is empty/,
    ],
    [
      'a file URL',
      () => withImage('file:///etc/passwd'),
      400,
      'messages[0].content[1].image_url',
      /its scheme is file:/,
    ],
    [
      'a URL of a private network',
      () => withImage('http://10.0.0.1/a.png'),
      400,
      'messages[0].content[1].image_url',
      /not on the public internet/,
    ],
    [
      'a URL of a metadata service',
      () => withImage('http://[::ffff:169.254.169.254]/latest'),
      400,
      'messages[0].content[1].image_url',
      /not on the public internet/,
    ],
    [
      'a URL with credentials',
      () => withImage('http://a:b@example.com/a.png'),
      400,
      'messages[0].content[1].image_url',
      /credentials/,
    ],
    [
      'an unreachable URL',
      () => withImage('http://127.0.0.1:9/a.png'),
      400,
      'messages[0].content[1].image_url',
      /connection to its host failed/,
    ],
    [
      '31 images',
      async () => {
        const url = dataUrl(await shape('red', 'circle', 32))
        return chat({
          messages: [
            { role: 'user', content: Array.from({ length: 31 }, () => ({ type: 'image_url', image_url: { url } })) },
          ],
        })
      },
      400,
      'messages[0].content[30].image_url',
      /31 images; at most 30 are allowed/,
    ],
    [
      'too much base64',
      () => withImage(`data:image/png;base64,${'A'.repeat(10_000_001)}`),
      413,
      'messages[0].content[1].image_url',
      /10000001 characters.*at most 10000000 are allowed/,
    ],
  ]

  it.each(wrong)(
    'refuses %s, naming the part, what was found and what is allowed',
    async (_, body, status, param, says) => {
      const { status: got, error } = await refused(await body())
      expect(error.message).toMatch(says)
      expect({ status: got, param: error.param }).toEqual({ status, param })
      expect(error).toMatchObject({ type: 'invalid_request_error', code: expect.stringMatching(/^[a-z_]+$/) })
    },
  )

  it('refuses a body that is empty, too large, not JSON, or of another content type', async () => {
    expect(await refusal(await post('{"model":'))).toMatchObject({ status: 400, error: { code: 'invalid_json' } })
    expect(await refusal(await post(''))).toMatchObject({ status: 400, error: { code: 'invalid_value' } })
    expect(await refusal(await post('[]'))).toMatchObject({
      status: 400,
      error: { message: expect.stringContaining('The body must be an object') },
    })
    expect(await refusal(await post(' '.repeat(16_000_001)))).toMatchObject({
      status: 413,
      error: { code: 'body_too_large' },
    })
    expect(await refusal(await post('hello', { 'content-type': 'text/plain' }))).toMatchObject({
      status: 415,
      error: { code: 'unsupported_content_type' },
    })
    const compressed = { 'content-type': 'application/json', 'content-encoding': 'gzip' }
    expect(await refusal(await post('{}', compressed))).toMatchObject({
      status: 415,
      error: { code: 'unsupported_content_encoding', message: expect.stringContaining('content-encoding') },
    })
  })

  it('refuses unknown URLs, and other methods with the allowed ones', async () => {
    expect(await refusal(await fetch(`${oriel.url}/v1/nothing`))).toMatchObject({
      status: 404,
      error: { code: 'unknown_url' },
    })
    const wrongMethod = await fetch(`${oriel.url}/v1/chat/completions`)
    expect(wrongMethod.headers.get('allow')).toBe('POST, OPTIONS')
    expect(await refusal(wrongMethod)).toMatchObject({
      status: 405,
      error: { message: '/v1/chat/completions accepts POST, not GET.' },
    })
    expect((await fetch(`${oriel.url}/v1/chat/completions`, { method: 'OPTIONS' })).status).toBe(204)
  })

  it.each([
    ['/v1/messages', { max_tokens: 5, stop_sequences: ['a'.repeat(1001)] }, 'stop_sequences[0]'],
    ['/v1/completions', { prompt: 'Hello', messages: undefined, stop: ['a'.repeat(1001)] }, 'stop[0]'],
    ['/api/chat', { options: { stop: ['a'.repeat(1001)] } }, 'options.stop[0]'],
  ])('refuses a long stop text at %s too', async (path, over, field) => {
    const answer = await postJson(`${oriel.url}${path}`, chat(over))
    expect(answer.status).toBe(400)
    expect(await answer.text()).toContain(
      `${field} must have at most 1000 characters; found a string of 1001 characters`,
    )
  })

  it('names ignored parameters in a header', async () => {
    const response = await post(JSON.stringify(chat({ wibble: 1 })))
    expect(response.status).toBe(200)
    expect(response.headers.get('x-oriel-ignored-parameters')).toBe('wibble')
    const halfCharacter = await post(JSON.stringify(chat({ '\ud800': 1 })))
    expect(halfCharacter.headers.get('x-oriel-ignored-parameters')).toBe('%EF%BF%BD')
  })

  it('ignores parameters that do not change the prompt when it only counts', async () => {
    const send = (path: string, body: object) => postJson(`${oriel.url}${path}`, chat(body))
    const counted = await send('/v1/messages/count_tokens', { stop_sequences: 'END' })
    expect(counted.status).toBe(200)
    expect(counted.headers.get('x-oriel-ignored-parameters')).toBe('stop_sequences')
    expect(await (await send('/v1/tokenize', { logprobs: 'many' })).json()).toMatchObject({ max_model_len: 4096 })
    expect(await refusal(await send('/v1/tokenize', { tool_choice: { function: null } }))).toMatchObject({
      status: 400,
      error: { param: expect.stringMatching(/^tool_choice/) },
    })
  })

  it('filters the models by every feature that the query names', async () => {
    const list = async (query: string) => {
      const response = await fetch(`${oriel.url}/v1/models?${query}`)
      const { data } = (await response.json()) as { data: { id: string }[] }
      return data.map(({ id }) => id)
    }
    expect(await list('features=vision&features=structured-outputs')).toContain('pocket')
    expect(await list('features=vision&features=flying')).toEqual([])
  })

  it('leaves the server able to answer', async () => {
    expect(await (await post(JSON.stringify(chat({ temperature: 0 })))).json()).toMatchObject({
      choices: [{ message: { content: 'Hello! Send me an image and ask about it.' } }],
    })
    expect(await (await fetch(`${oriel.url}/health`)).json()).toMatchObject({ status: 'ok' })
  })
})
