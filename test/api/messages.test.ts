import Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OrielError } from '../../src/errors.ts'
import { postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { endEvents, promptEvent, startScripted, startWords, textEvent } from '../support/scripted.ts'
import { startServer, type TestServer } from '../support/server.ts'

interface Message {
  type: string
  role: string
  content: { type: string; text?: string; name?: string; input?: { colour?: string } }[]
  stop_reason: string
  stop_sequence: string | null
  usage: { input_tokens: number; output_tokens: number; cache_read_input_tokens: number }
  error: { type: string; message: string }
  input_tokens: number
}

const post = (url: string, body: object, path = 'messages') =>
  postJson(`${url}/v1/${path}`, body, { headers: { 'anthropic-version': '2023-06-01', 'x-api-key': 'none' } })

const hi = [{ role: 'user', content: 'Hi' }]
const format = { format: { type: 'json_schema', schema: { type: 'object' } } }

interface StreamEvent {
  type: string
  index?: number
  message?: Message
  content_block?: { type: string; name?: string }
  delta?: { type?: string; text?: string; thinking?: string; partial_json?: string; stop_reason?: string }
  usage?: Message['usage']
}

/** The events of a stream, whose names must be those within. */
async function eventsOf(response: Response): Promise<StreamEvent[]> {
  expect(response.headers.get('content-type')).toContain('text/event-stream')
  return (await response.text())
    .split('\n\n')
    .filter((frame) => frame !== '')
    .map((frame) => {
      const [name, data] = frame.split('\n')
      const event = JSON.parse(data?.slice('data: '.length) ?? '') as StreamEvent
      expect(name).toBe(`event: ${event.type}`)
      return event
    })
}

describe('messages of the built-in model', () => {
  let oriel: TestServer
  let png: Buffer
  beforeAll(async () => {
    oriel = await startServer()
    png = await shape('red')
  })
  afterAll(() => oriel.close())

  const asked = (over: object = {}) => ({
    model: 'pocket',
    max_tokens: 64,
    temperature: 0,
    messages: [
      {
        role: 'user',
        content: [
          { type: 'image', source: { type: 'base64', media_type: 'image/png', data: png.toString('base64') } },
          { type: 'text', text: 'What is in this image?' },
        ],
      },
    ],
    ...over,
  })
  const ask = async (over: object = {}) => (await (await post(oriel.url, asked(over))).json()) as Message

  it('return the same answer as chats', async () => {
    const chat = await postJson(`${oriel.url}/v1/chat/completions`, {
      model: 'pocket',
      temperature: 0,
      messages: [
        {
          role: 'user',
          content: [
            { type: 'image_url', image_url: dataUrl(png) },
            { type: 'text', text: 'What is in this image?' },
          ],
        },
      ],
    })
    const { choices, usage } = (await chat.json()) as {
      choices: { message: { content: string } }[]
      usage: { prompt_tokens: number; completion_tokens: number }
    }
    const message = await ask()
    expect(message).toMatchObject({
      type: 'message',
      role: 'assistant',
      model: 'pocket',
      content: [{ type: 'text', text: choices[0]?.message.content }],
      stop_reason: 'end_turn',
      stop_sequence: null,
    })
    expect(message.usage.input_tokens + message.usage.cache_read_input_tokens).toBe(usage.prompt_tokens)
    expect(message.usage.output_tokens).toBe(usage.completion_tokens)
  })

  it('stream the same answer as they return whole', async () => {
    const whole = await ask()
    const events = await eventsOf(await post(oriel.url, asked({ stream: true })))
    expect(events.map(({ type }) => type).filter((type) => type !== 'content_block_delta')).toEqual([
      'message_start',
      'ping',
      'content_block_start',
      'content_block_stop',
      'message_delta',
      'message_stop',
    ])
    expect(events.map(({ delta }) => delta?.text ?? '').join('')).toBe(whole.content[0]?.text)
    expect(events.at(-2)).toMatchObject({
      delta: { stop_reason: 'end_turn', stop_sequence: null },
      usage: { output_tokens: whole.usage.output_tokens },
    })
  })

  it('report max_tokens and stop sequences as stop reasons', async () => {
    expect(await ask({ max_tokens: 2 })).toMatchObject({ stop_reason: 'max_tokens', usage: { output_tokens: 2 } })
    const text = (await ask()).content[0]?.text ?? ''
    const word = text.slice(3, 6)
    expect(await ask({ stop_sequences: ['never', word] })).toMatchObject({
      stop_reason: 'stop_sequence',
      stop_sequence: word,
      content: [{ text: text.slice(0, text.indexOf(word)) }],
    })
  })

  it('return a call if tool_choice requires one', async () => {
    const tool = {
      name: 'report',
      input_schema: { type: 'object', properties: { colour: { enum: ['red', 'blue'] } }, required: ['colour'] },
    }
    const message = await ask({ tools: [tool], tool_choice: { type: 'tool', name: 'report' }, max_tokens: 400 })
    expect(message).toMatchObject({ stop_reason: 'tool_use', content: [{ type: 'tool_use', name: 'report' }] })
    expect(['red', 'blue']).toContain(message.content[0]?.input?.colour)
  })

  it('continue a last message of the assistant', async () => {
    const whole = (await ask()).content[0]?.text ?? ''
    const begun = [...asked().messages, { role: 'assistant', content: whole.slice(0, 5) }]
    const message = await ask({ messages: begun })
    expect(message.content[0]?.text).toBe(whole.slice(5))
    const { usage } = message
    const counted = await post(oriel.url, { model: 'pocket', messages: begun }, 'messages/count_tokens')
    expect(await counted.json()).toEqual({ input_tokens: usage.input_tokens + usage.cache_read_input_tokens })
  })

  it('are counted without an answer', async () => {
    const { max_tokens: _, ...question } = asked()
    const counted = (await (await post(oriel.url, question, 'messages/count_tokens')).json()) as Message
    const { usage } = await ask()
    expect(counted).toEqual({ input_tokens: usage.input_tokens + usage.cache_read_input_tokens })
  })

  it('share cached prompts with the other protocols, within one isolation key', async () => {
    const content = 'A question that all protocols share, word by word, long enough for the cache to matter.'
    const messages = [{ role: 'user', content }]
    const other = async (path: string, body: object, header?: string) => {
      const response = await postJson(
        `${oriel.url}/v1/${path}`,
        { model: 'pocket', ...body },
        { headers: header === undefined ? {} : { 'x-prompt-cache-isolation-key': header } },
      )
      return Number(response.headers.get('fireworks-cached-prompt-tokens'))
    }
    const message = (header?: string) => other('messages', { messages, max_tokens: 1 }, header)
    const chat = (key: string | null, header?: string) =>
      other('chat/completions', { messages, max_tokens: 1, prompt_cache_isolation_key: key }, header)
    const response = (key: string | null, header?: string) =>
      other('responses', { input: content, max_output_tokens: 1, prompt_cache_isolation_key: key }, header)

    for (const [first, ...others] of [
      [() => message(), () => chat(null), () => response(null)],
      [() => chat('a'), () => message('a'), () => response(null, 'a'), () => chat('a', 'a')],
      [() => chat('a', 'b'), () => response('a', 'b')],
      [() => chat('b'), () => message('b')],
    ]) {
      const known = (await first?.()) ?? 0
      for (const again of others) expect(await again()).toBeGreaterThan(known + 10)
    }
  })

  it('have a request-id header, for streams and errors too', async () => {
    const client = new Anthropic({ baseURL: oriel.url, apiKey: 'none', maxRetries: 0 })
    const question = { model: 'pocket', max_tokens: 1, messages: [{ role: 'user' as const, content: 'Hi' }] }
    const headers = { 'x-request-id': 'mine' }
    expect((await client.messages.create(question, { headers }))._request_id).toBe('mine')
    const { request_id } = await client.messages.create({ ...question, stream: true }, { headers }).withResponse()
    expect(request_id).toBe('mine')
    await expect(client.messages.create({ ...question, model: 'claude' }, { headers })).rejects.toMatchObject({
      requestID: 'mine',
    })
  })

  it.each([
    ['no max_tokens', { max_tokens: undefined }, 400, /max_tokens must be a number; found nothing/],
    ['an unknown model', { model: 'claude' }, 404, /"claude" was not found/],
    [
      'data that is not an image',
      {
        messages: [
          { role: 'user', content: [{ type: 'image', source: { type: 'base64', data: 'aGVsbG8gd29ybGQh' } }] },
        ],
      },
      415,
      /png, jpeg/,
    ],
    [
      'a stored file',
      { messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'file', file_id: 'a' } }] }] },
      400,
      /stored files are only for fine-tuning/,
    ],
    [
      'a required call whose schema has no grammar',
      { tools: [{ name: 'odd', input_schema: { $ref: '#/$defs/none' } }], tool_choice: { type: 'any' } },
      400,
      /: tools\[0\]\.input_schema has a \$ref to a place that does not exist/,
    ],
    ['an unknown role', { messages: [{ role: 'tool', content: 'Hi' }] }, 400, /"user", "assistant" or "system"/],
    [
      'an unknown block',
      { messages: [{ role: 'user', content: [{ type: 'img' }] }] },
      400,
      /must be "text", "image", "video", "audio", "document", "search_result", "tool_use", "tool_result" or "thinking"/,
    ],
    [
      'an unknown tool',
      { tools: [{ type: 'function', name: 'f' }] },
      400,
      /tools\[0\]\.type must be "custom", or one of the tools that Anthropic defines/,
    ],
    ['a tool without a schema', { tools: [{ name: 'f' }] }, 400, /tools\[0\]\.input_schema must be an object/],
    [
      'a required call of a tool that cannot be offered',
      { tools: [{ type: 'web_search_20250305', name: 'web_search' }], tool_choice: { type: 'any' } },
      400,
      /there are no tools/,
    ],
    [
      'a format together with a required call',
      { output_config: format, tools: [{ name: 'f', input_schema: {} }], tool_choice: { type: 'any' } },
      400,
      /output_config\.format and a tool_choice/,
    ],
    ['two formats', { output_config: format, output_format: format.format }, 400, /send one of them/],
    [
      'a format together with an answer to continue',
      { output_config: format, messages: [...hi, { role: 'assistant', content: '{' }] },
      400,
      /output_config\.format and a last message of the assistant/,
    ],
    [
      'a format whose schema has no grammar',
      { output_config: { format: { type: 'json_schema', schema: { $ref: '#/$defs/none' } } } },
      400,
      /\$ref to a place that does not exist/,
    ],
  ])('refuse %s with an error of Anthropic’s API', async (_, over, status, says) => {
    const response = await post(oriel.url, asked(over))
    const { type, error } = (await response.json()) as Message
    expect({ status: response.status, type }).toEqual({ status, type: 'error' })
    expect(error.message).toMatch(says)
  })
})

describe('messages of any model', () => {
  let close = async (): Promise<void> => {}
  afterAll(() => close())

  async function start(words: readonly string[], failure?: OrielError) {
    await close()
    const server = await startWords(words, failure)
    close = server.close
    return server
  }

  const body = {
    model: 'scripted',
    max_tokens: 10,
    messages: [{ role: 'user', content: 'How is the weather?' }],
    tools: [{ name: 'get_weather', input_schema: { type: 'object' } }],
  }
  const words = [
    ...'<think>Hm.</think>Let me look.<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>',
  ]

  it('return thoughts, text and calls as blocks, whole and in a stream', async () => {
    const { url } = await start(words)
    const whole = (await (await post(url, body)).json()) as Message
    expect(whole).toMatchObject({
      stop_reason: 'tool_use',
      content: [
        { type: 'thinking', thinking: 'Hm.' },
        { type: 'text', text: 'Let me look.' },
        { type: 'tool_use', id: expect.any(String), name: 'get_weather', input: { city: 'Paris' } },
      ],
      usage: { input_tokens: 8, cache_read_input_tokens: 4 },
    })
    const events = await eventsOf(await post(url, { ...body, stream: true }))
    expect(events.flatMap(({ content_block }) => content_block?.type ?? [])).toEqual(['thinking', 'text', 'tool_use'])
    const told = (index: number) =>
      events
        .map(({ delta, index: at }) =>
          at === index ? (delta?.text ?? delta?.thinking ?? delta?.partial_json ?? '') : '',
        )
        .join('')
    expect([told(0), told(1), told(2)]).toEqual(['Hm.', 'Let me look.', '{"city": "Paris"}'])
    expect(events.at(-2)?.delta?.stop_reason).toBe('tool_use')
  })

  it('pass calls and their results to the model', async () => {
    const { url, promptText } = await start(['Sunny.'])
    await post(url, {
      ...body,
      system: [{ type: 'text', text: 'Be brief.' }],
      messages: [
        ...body.messages,
        { role: 'assistant', content: [{ type: 'tool_use', id: 't1', name: 'get_weather', input: { city: 'Paris' } }] },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 't1', content: [{ type: 'text', text: 'sunny' }] },
            { type: 'text', text: 'And now?' },
          ],
        },
      ],
    })
    expect(promptText()).toMatch(
      /system\nBe brief\.[\s\S]*<tool_call>\n\{"name":"get_weather","arguments":\{"city":"Paris"\}\}[\s\S]*<tool_response>\nsunny\n<\/tool_response>[\s\S]*user\nAnd now\?/,
    )
  })

  it('have documents of blocks, each preceded by its title and context', async () => {
    const pieces: string[] = []
    const server = await startScripted(
      async function* ({ prompt }) {
        pieces.push(...prompt.map((piece) => (piece.kind === 'text' ? piece.text : `[${piece.kind}]`)))
        yield* [promptEvent, textEvent('Yes.'), ...endEvents(1)]
      },
      { vision: true },
    )
    close = server.close
    const data = dataUrl(await shape('red')).replace(/^.*,/, '')
    const picture = { type: 'image', source: { type: 'base64', media_type: 'image/png', data } }
    const blocks = [{ type: 'text', text: 'They rain ' }, picture, { type: 'text', text: ' here.' }]
    const paper = { type: 'document', title: 'Of clouds', context: 'From 1803.' }
    const asking = (content: unknown) =>
      post(server.url, {
        ...body,
        messages: [{ role: 'user', content: [{ ...paper, source: { type: 'content', content } }] }],
      })
    expect((await asking(blocks)).status).toBe(200)
    expect(pieces.join('')).toContain('Of clouds\nFrom 1803.\nThey rain [image] here.<|im_end|>')
    pieces.splice(0)
    expect((await asking('They rain.')).status).toBe(200)
    expect(pieces.join('')).toContain('Of clouds\nFrom 1803.\nThey rain.<|im_end|>')
    const blind = await start(['Yes.'])
    const refused = await post(blind.url, {
      ...body,
      messages: [{ role: 'user', content: [{ ...paper, source: { type: 'content', content: blocks } }] }],
    })
    expect([refused.status, await refused.text()]).toEqual([
      400,
      expect.stringContaining('messages[0].content[0].source.content[1].source'),
    ])
  })

  it('mark results that are errors, and precede documents by their titles', async () => {
    const { url, promptText } = await start(['Sorry.'])
    const result = { type: 'tool_result', tool_use_id: 't1', is_error: true }
    const calls = [{ type: 'tool_use', id: 't1', name: 'get_weather', input: {} }]
    const paper = { type: 'document', title: 'Of clouds', source: { type: 'text', data: 'They rain.' } }
    await post(url, {
      ...body,
      messages: [
        { role: 'user', content: [paper] },
        { role: 'assistant', content: calls },
        { role: 'user', content: [{ ...result, content: 'no such city' }] },
        { role: 'assistant', content: calls },
        { role: 'user', content: [result] },
      ],
    })
    expect(promptText()).toContain('Of clouds\nThey rain.<|im_end|>')
    expect(promptText()).toContain('<tool_response>\nError: no such city\n</tool_response>')
    expect(promptText()).toContain('<tool_response>\nError: \n</tool_response>')
  })

  it('end a thought in a stream with its signature', async () => {
    const { url } = await start(words)
    const events = await eventsOf(await post(url, { ...body, stream: true }))
    expect(events.filter(({ index }) => index === 0).map(({ type, delta }) => delta?.type ?? type)).toEqual([
      'content_block_start',
      'thinking_delta',
      'thinking_delta',
      'thinking_delta',
      'signature_delta',
      'content_block_stop',
    ])
  })

  it('offer the tools that clients run, leave out those of servers, and say so', async () => {
    const { url, promptText } = await start(['Hm.'])
    const response = await post(url, {
      ...body,
      tools: [
        { type: 'web_search_20250305', name: 'web_search', max_uses: 5 },
        { type: 'bash_20250124', name: 'bash' },
        ...body.tools,
        { type: 'text_editor_20250728', name: 'str_replace_based_edit_tool' },
        { type: 'memory_20250818', name: 'memory' },
        { type: 'computer_20250124', name: 'computer', display_width_px: 1024, display_height_px: 768 },
        { type: 'code_execution_20250825', name: 'code_execution' },
        { type: 'mcp_toolset', mcp_server_name: 'a' },
        { type: 'tool_search_tool_bm25', name: 'tool_search_tool_bm25' },
      ],
      mcp_servers: [{ type: 'url', name: 'a', url: 'https://a' }],
      container: 'c',
      context_management: { edits: [] },
    })
    expect(response.status).toBe(200)
    const ignored = response.headers.get('x-oriel-ignored-parameters')?.split(', ')
    expect(ignored?.sort()).toEqual(
      [
        'container',
        'context_management',
        'mcp_servers',
        'tools[0]',
        'tools[5]',
        'tools[6]',
        'tools[7]',
        'tools[8]',
      ].sort(),
    )
    const offered = [...promptText().matchAll(/"function": ?\{"name": ?"(\w+)"/g)].map(([, name]) => name)
    expect(offered).toEqual(['bash', 'get_weather', 'str_replace_based_edit_tool', 'memory'])
  })

  it('are refused by a strict server that would leave a tool out', async () => {
    const { url, close } = await startScripted(async function* () {}, { strict: true })
    const response = await post(url, { ...body, tools: [{ type: 'web_search_20250305', name: 'web_search' }] })
    expect(await response.json()).toMatchObject({
      error: { message: 'tools[0] is "web_search_20250305", which this server cannot offer to a model.' },
    })
    await close()
  })

  it('leave out what tools of servers did in earlier turns, and read what clients have found', async () => {
    const { url, promptText } = await start(['Hm.'])
    const response = await post(url, {
      ...body,
      messages: [
        { role: 'user', content: [{ type: 'search_result', source: 'https://a', title: 'Sky', content: [] }] },
        {
          role: 'assistant',
          content: [
            { type: 'server_tool_use', id: 's1', name: 'web_search', input: { query: 'sky' } },
            { type: 'web_search_tool_result', tool_use_id: 's1', content: [] },
            { type: 'text', text: 'Blue.' },
          ],
        },
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Why?' },
      ],
    })
    expect(response.headers.get('x-oriel-ignored-parameters')).toBe('messages[1].content[0], messages[1].content[1]')
    expect(promptText()).toMatch(/\nSky\nhttps:\/\/a\n[\s\S]*assistant\nBlue\.[\s\S]*system\nBe brief\.[\s\S]*Why\?/)
  })

  it('end because the context is full, if they had room for more', async () => {
    const server = await startScripted(async function* () {
      yield promptEvent
      yield textEvent('One')
      yield { type: 'end', choice: 0, reason: 'length', stop: null, completionTokens: 5 }
      yield {
        type: 'done',
        timings: { queue: 1, encode: 0, prefill: 2, firstToken: 3, generation: 4 },
        attachments: [],
      }
    })
    const stopOf = async (max_tokens: number) =>
      ((await (await post(server.url, { ...body, max_tokens })).json()) as Message).stop_reason
    expect(await stopOf(6)).toBe('model_context_window_exceeded')
    expect(await stopOf(5)).toBe('max_tokens')
    await server.close()
  })

  it('end a stream that fails with an error event', async () => {
    const { url } = await start(['One'], new OrielError('engine_failed', 'The engine stopped.'))
    const events = await eventsOf(await post(url, { ...body, stream: true }))
    expect(events.at(-1)).toMatchObject({ type: 'error', error: { type: 'api_error', message: 'The engine stopped.' } })
  })
})
