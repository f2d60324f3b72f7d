import OpenAI from 'openai'
import { zodTextFormat } from 'openai/helpers/zod'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { OrielError } from '../../src/errors.ts'
import { postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { shortRun } from '../support/long.ts'
import { startTurns, startWords } from '../support/scripted.ts'
import { startServer, type TestServer } from '../support/server.ts'

const question = 'What is in this image?'

/** A tool whose schema has no grammar. */
const odd = {
  type: 'function',
  name: 'odd',
  parameters: { type: 'object', properties: { even: { type: 'even' } } },
}

describe('responses of the built-in model', () => {
  let oriel: TestServer
  let client: OpenAI
  let red: string
  beforeAll(async () => {
    oriel = await startServer()
    client = new OpenAI({ baseURL: `${oriel.url}/v1`, apiKey: 'none', maxRetries: 0 })
    red = dataUrl(await shape('red'))
  })
  afterAll(() => oriel.close())

  const asked = (): { model: string; temperature: number; input: OpenAI.Responses.ResponseInput } => ({
    model: 'pocket',
    temperature: 0,
    input: [
      {
        role: 'user',
        content: [
          { type: 'input_image', image_url: red, detail: 'auto' },
          { type: 'input_text', text: question },
        ],
      },
    ],
  })

  it('return the same answer as chats', async () => {
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
    const response = await client.responses.create(asked())
    expect(response).toMatchObject({ object: 'response', status: 'completed', error: null, incomplete_details: null })
    expect(response.output_text).toBe(chat.choices[0]?.message.content)
    expect(response.usage).toMatchObject({
      input_tokens: chat.usage?.prompt_tokens,
      output_tokens: chat.usage?.completion_tokens,
      total_tokens: chat.usage?.total_tokens,
    })
  })

  it('stream the same answer as they return whole', async () => {
    const whole = await client.responses.create(asked())
    const stream = client.responses.stream(asked())
    const types: string[] = []
    let deltas = ''
    let sequence = 0
    for await (const event of stream) {
      expect(event.sequence_number).toBe(sequence++)
      types.push(event.type)
      if (event.type === 'response.output_text.delta') deltas += event.delta
    }
    const final = await stream.finalResponse()
    expect(deltas).toBe(whole.output_text)
    expect(final.output_text).toBe(whole.output_text)
    expect(final.usage).toEqual({
      ...whole.usage,
      input_tokens_details: { cached_tokens: Number(whole.usage?.input_tokens) - 1, cache_write_tokens: 0 },
    })
    expect(types.filter((type) => type !== 'response.output_text.delta')).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ])
  })

  it('are incomplete if max_output_tokens ends them', async () => {
    const response = await client.responses.create({ ...asked(), max_output_tokens: 2 })
    expect(response).toMatchObject({
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      output: [{ type: 'message', status: 'incomplete' }],
    })
    const types: string[] = []
    for await (const { type } of await client.responses.create({ ...asked(), max_output_tokens: 2, stream: true }))
      types.push(type)
    expect(types.at(-1)).toBe('response.incomplete')
  })

  it('refuse a strict schema that no grammar holds to, as chats do', async () => {
    const list = { type: 'array', items: { type: 'boolean' }, uniqueItems: true }
    const schema = { type: 'object', properties: { list }, required: ['list'], additionalProperties: false }
    const format = { type: 'json_schema' as const, name: 'list', schema }
    await expect(
      client.responses.create({ ...asked(), text: { format: { ...format, strict: true } } }),
    ).rejects.toMatchObject({ status: 400, message: expect.stringContaining('uniqueItems') })
    const { output_text: text } = await client.responses.create({ ...asked(), text: { format } })
    expect(JSON.parse(text)).toMatchObject({ list: expect.any(Array) })
  })

  it('follow a schema, or the schema of a required call', async () => {
    const schema = {
      type: 'object',
      properties: { colour: { enum: ['red', 'blue'] } },
      required: ['colour'],
      additionalProperties: false,
    }
    const json = await client.responses.create({
      ...asked(),
      text: { format: { type: 'json_schema', name: 'colour', schema } },
    })
    expect(['red', 'blue']).toContain(JSON.parse(json.output_text).colour)
    const call = await client.responses.create({
      ...asked(),
      tools: [{ type: 'function', name: 'report', parameters: schema, strict: true }],
      tool_choice: 'required',
    })
    expect(call.output).toMatchObject([{ type: 'function_call', name: 'report', status: 'completed' }])
    const [made] = call.output
    expect(['red', 'blue']).toContain(made?.type === 'function_call' && JSON.parse(made.arguments).colour)
  })

  it.skipIf(shortRun)(
    'leave out the oldest turns of a conversation that exceeds the context, with truncation auto',
    async () => {
      const turns = Array.from({ length: 300 }, (_, turn) => [
        { role: 'user' as const, content: `Question ${turn}` },
        { role: 'assistant' as const, content: `Answer ${turn}` },
      ]).flat()
      const asked = (over: object) =>
        client.responses.create({
          model: 'pocket',
          instructions: 'Be brief.',
          input: [...turns, { role: 'user', content: 'And now?' }],
          ...over,
        })
      await expect(asked({ truncation: 'disabled' })).rejects.toMatchObject({ status: 400, param: 'input' })
      const room = 100
      const { usage } = await asked({ truncation: 'auto', max_output_tokens: room })
      expect(usage?.input_tokens).toBeLessThanOrEqual(4096 - room)
      expect(usage?.input_tokens).toBeGreaterThan(4096 - room - 60)
      expect((await asked({ truncation: 'auto' })).usage?.input_tokens).toBeLessThanOrEqual(3072)
      // One message cannot be shortened, and has the room of its answer.
      const most = await asked({ truncation: 'auto', input: 'word '.repeat(3500), max_output_tokens: 4000 })
      expect(most.usage?.input_tokens).toBeGreaterThan(3072)
    },
  )

  it('hold the log probabilities of their text, whole and in a stream', async () => {
    const include = ['message.output_text.logprobs' as const]
    const request = { ...asked(), include, top_logprobs: 2 }
    const textOf = ({ output: [item] }: OpenAI.Responses.Response) => {
      const part = item?.type === 'message' ? item.content[0] : undefined
      return part?.type === 'output_text' ? part : undefined
    }
    const whole = textOf(await client.responses.create(request))
    expect(whole?.logprobs?.map(({ token }) => token).join('')).toBe(whole?.text)
    expect(whole?.logprobs?.every(({ logprob, top_logprobs }) => logprob <= 0 && top_logprobs.length === 2)).toBe(true)
    const stream = client.responses.stream(request)
    const tokens: string[] = []
    for await (const event of stream)
      if (event.type === 'response.output_text.delta') tokens.push(...event.logprobs.map(({ token }) => token))
    expect(tokens.join('')).toBe(whole?.text)
    const last = textOf(await stream.finalResponse())
    expect(last?.logprobs?.map(({ token }) => token)).toEqual(tokens)
    expect(textOf(await client.responses.create(asked()))?.logprobs).toEqual([])
  })

  it('are counted without an answer', async () => {
    const more = { instructions: 'Be brief.', input: 'Hello', tools: [{ ...odd, strict: null }] as never }
    const { usage } = await client.responses.create({ model: 'pocket', ...more, tool_choice: 'none' })
    expect(await client.responses.inputTokens.count({ model: 'pocket', ...more, tool_choice: 'none' })).toEqual({
      object: 'response.input_tokens',
      input_tokens: usage?.input_tokens,
    })
  })

  it('are parsed by the schemas of clients', async () => {
    const colour = z.object({ colour: z.enum(['red', 'blue']) })
    const { output_parsed } = await client.responses.parse({ ...asked(), text: { format: zodTextFormat(colour, 'c') } })
    colour.parse(output_parsed)
  })

  it('accept files', async () => {
    const response = await client.responses.create({
      ...asked(),
      input: [{ role: 'user', content: [{ type: 'input_file', file_data: red, filename: 'a.png' }] }],
    })
    expect(response.usage?.input_tokens).toBeGreaterThan(110)
  })

  it.each([
    [
      'an image without data',
      { input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'data:,' }] }] },
      'input[0].content[0].image_url',
    ],
    [
      'a previous response that is not stored',
      { input: 'Hi', previous_response_id: 'resp_1' },
      'previous_response_id',
      'The previous response was not found.',
    ],
    ['a conversation', { input: 'Hi', conversation: 'conv_1' }, 'conversation', 'with previous_response_id'],
    ['a stored prompt', { input: 'Hi', prompt: { id: 'pmpt_1' } }, 'prompt', 'stores no prompts'],
    [
      'a stored file',
      { input: [{ role: 'user', content: [{ type: 'input_file', file_id: 'file_1' }] }] },
      'input[0].content[0].file_data',
    ],
    [
      'more metadata than OpenAI allows',
      { input: 'Hi', metadata: Object.fromEntries(Array.from({ length: 17 }, (_, at) => [`key${at}`, 'value'])) },
      'metadata',
      'must have at most 16 pairs',
    ],
    ['a long name of a user', { input: 'Hi', user: 'a'.repeat(513) }, 'user', 'must have at most 512'],
    ['an unknown tool', { input: 'Hi', tools: [{ type: 'search' }] }, 'tools[0].type', 'such as "web_search"; found'],
    [
      'a required call of tools that cannot be offered',
      { input: 'Hi', tools: [{ type: 'web_search' }], tool_choice: 'required' },
      'tool_choice',
      'there are no tools',
    ],
    [
      'a choice of a tool that cannot be offered',
      { input: 'Hi', tools: [{ type: 'web_search' }], tool_choice: { type: 'web_search' } },
      'tool_choice.type',
      'must be "function", "custom" or "allowed_tools"; found',
    ],
    ['more alternatives than 20', { input: 'Hi', top_logprobs: 21 }, 'top_logprobs', 'at most 20'],
    ['a penalty above 2', { input: 'Hi', presence_penalty: 3 }, 'presence_penalty', 'at most 2'],
    ['a background response', { input: 'Hi', background: true }, 'background'],
    [
      'a call whose arguments are not a string',
      { input: [{ type: 'function_call', call_id: 'a', name: 'f', arguments: {} }] },
      'input[0].arguments',
      'must be a string; found an object',
    ],
    [
      'an item of an unknown kind',
      { input: [{ role: 'user', content: 'Hi' }, { type: 'video_call' }] },
      'input[1].type',
      'must be "message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "reasoning" or "item_reference"; found',
    ],
    ['a message without a role', { input: [{ content: 'Hi' }] }, 'input[0].role', 'must be "user", "assistant"'],
    ['an item that is not an object', { input: [5] }, 'input[0]', 'must be an object; found 5'],
    [
      'an unknown format',
      { input: 'Hi', text: { format: { type: 'json' } } },
      'text.format.type',
      'must be "text", "json_object" or "json_schema"; found "json"',
    ],
    [
      'a required call together with a text format',
      { input: 'Hi', tools: [odd], tool_choice: 'required', text: { format: { type: 'json_object' } } },
      'text.format',
      'send one of them',
    ],
    [
      'a required call whose schema has no grammar',
      { input: 'Hi', tools: [odd], tool_choice: 'required' },
      'tools[0].parameters',
      ': tools[0].parameters.properties.even.type is not valid',
    ],
    ['a prompt longer than the context', { input: 'word '.repeat(6000) }, 'input'],
    [
      'a last message longer than the context',
      {
        input: [
          { role: 'user', content: 'Hi' },
          { role: 'user', content: 'word '.repeat(6000) },
        ],
        truncation: 'auto',
      },
      'truncation',
      "The last message alone makes a prompt of 6009 tokens; the model's context holds 4096",
    ],
    ['no input', {}, 'input'],
  ])('refuse %s', async (_, body, param, says = '') => {
    const response = await postJson(`${oriel.url}/v1/responses`, { model: 'pocket', ...body })
    const { error } = (await response.json()) as { error: { param: string; message: string } }
    expect({ status: response.status, param: error.param }).toEqual({ status: 400, param })
    expect(error.message).toContain(says)
  })
})

describe('responses of any model', () => {
  let close = async (): Promise<void> => {}
  afterAll(() => close())

  async function client(words: readonly string[], failure?: OrielError) {
    await close()
    const { url, promptText, close: end } = await startWords(words, failure)
    close = end
    return { openai: new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 }), promptText }
  }

  const body = {
    model: 'scripted',
    input: 'How is the weather?',
    tools: [{ type: 'function' as const, name: 'get_weather', parameters: { type: 'object' }, strict: false }],
  }
  const words = [
    ...'<think>Hm.</think>Let me look.<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>',
  ]

  it('return reasoning, text and calls as items', async () => {
    const { openai } = await client(words)
    const { output } = await openai.responses.create(body)
    expect(output).toMatchObject([
      { type: 'reasoning', content: [{ type: 'reasoning_text', text: 'Hm.' }] },
      { type: 'message', content: [{ type: 'output_text', text: 'Let me look.' }] },
      {
        type: 'function_call',
        name: 'get_weather',
        arguments: '{"city": "Paris"}',
        call_id: expect.stringMatching(/^call_/),
      },
    ])
    const streamed = await openai.responses.stream(body).finalResponse()
    const shapeOf = (items: readonly object[]) => JSON.stringify(items).replace(/[0-9a-f-]{24,}/g, 'ID')
    expect(shapeOf(streamed.output.map((item) => ({ ...item, parsed_arguments: undefined })))).toContain(
      '"arguments":"{\\"city\\": \\"Paris\\"}"',
    )
    expect(streamed.output.map(({ type }) => type)).toEqual(['reasoning', 'message', 'function_call'])
  })

  it('pass calls and their results to the model', async () => {
    const { openai, promptText } = await client(['Sunny.'])
    await openai.responses.create({
      ...body,
      instructions: 'Be brief.',
      input: [
        { role: 'user', content: 'How is the weather?' },
        { type: 'reasoning', id: 'rs_1', summary: [], content: [{ type: 'reasoning_text', text: 'Hm.' }] },
        { type: 'function_call', call_id: 'call_1', name: 'get_weather', arguments: '{"city":"Paris"}' },
        { type: 'function_call_output', call_id: 'call_1', output: 'sunny' },
      ],
    })
    expect(promptText()).toMatch(
      /system\nBe brief\.[\s\S]*user\nHow is[\s\S]*assistant\n\n<tool_call>\n\{"name":"get_weather"[\s\S]*<tool_response>\nsunny/,
    )
  })

  it('offer custom tools and those of namespaces as functions, leave out those of OpenAI, and say so', async () => {
    const { openai, promptText } = await client(['Hm.'])
    const grammar = { type: 'grammar', syntax: 'lark', definition: 'start: "begin"' } as const
    const lookUp = { type: 'function', name: 'look_up', parameters: { type: 'object' }, strict: false } as const
    const tools: OpenAI.Responses.Tool[] = [
      { type: 'web_search' },
      { type: 'custom', name: 'apply_patch', description: 'Edits files.', format: grammar },
      { type: 'local_shell' },
      ...body.tools,
      { type: 'namespace', name: 'mcp__docs', description: 'Documents.', tools: [lookUp] },
      { type: 'mcp', server_label: 'a', server_url: 'https://a' },
    ]
    const { data, response } = await openai.responses.create({ ...body, tools }).withResponse()
    expect(response.headers.get('x-oriel-ignored-parameters')).toBe('tools[0], tools[2], tools[5], tools[1].format')
    expect(data.tools).toEqual([
      { type: 'custom', name: 'apply_patch', description: 'Edits files.', format: grammar },
      { ...body.tools[0], description: null },
      { ...tools[4], tools: [{ ...lookUp, description: null }] },
    ])
    expect([...promptText().matchAll(/"function":\{"name":"(\w+)"/g)].map(([, name]) => name)).toEqual([
      'apply_patch',
      'get_weather',
      'mcp__docs__look_up',
    ])
    expect(promptText()).toContain('Its input follows this lark grammar')
    const namespaces = Array.from({ length: 9 }, (_, at) => ({
      type: 'namespace' as const,
      name: `n${at}`,
      description: '',
      tools: Array.from({ length: 128 }, (_, place) => ({ ...lookUp, name: `f${place}` })),
    }))
    await expect(openai.responses.create({ ...body, tools: namespaces })).rejects.toThrow(/tools has 1152 functions/)
  })

  it('call custom tools and those of namespaces in their own form', async () => {
    const call = (name: string, args: object) => `<tool_call>${JSON.stringify({ name, arguments: args })}</tool_call>`
    const patch = '*** Begin Patch\n"é"'
    const { openai } = await client([
      ...(call('apply_patch', { input: patch }) + call('mcp__docs__look_up', { word: 'a' })),
    ])
    const lookUp = { type: 'function', name: 'look_up', parameters: { type: 'object' }, strict: false } as const
    const tools: OpenAI.Responses.Tool[] = [
      { type: 'custom', name: 'apply_patch' },
      { type: 'namespace', name: 'mcp__docs', description: '', tools: [lookUp] },
    ]
    const made = [
      { type: 'custom_tool_call', name: 'apply_patch', input: patch, call_id: expect.stringMatching(/^call_/) },
      { type: 'function_call', name: 'look_up', namespace: 'mcp__docs', arguments: '{"word":"a"}' },
    ]
    expect((await openai.responses.create({ ...body, tools })).output).toMatchObject(made)
    const stream = openai.responses.stream({ ...body, tools })
    const inputs: string[] = []
    for await (const event of stream) {
      if (event.type === 'response.custom_tool_call_input.delta') inputs.push(event.delta)
      if (event.type === 'response.custom_tool_call_input.done') inputs.push(event.input)
    }
    expect(inputs).toEqual([patch, patch])
    expect((await stream.finalResponse()).output).toMatchObject(made)
  })

  it('give thoughts to clients that store nothing, and take them back', async () => {
    const chatTemplate =
      '{% for m in messages %}{{ m.role }}: {% if m.reasoning_content %}[{{ m.reasoning_content }}]{% endif %}{{ m.content }}\n{% endfor %}'
    const server = await startTurns(['<think>Hm.</think>Yes.', 'No.'], { chatTemplate })
    const { responses } = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 })
    const include = ['reasoning.encrypted_content' as const]
    const { output } = await responses.create({ model: 'scripted', input: 'Is it?', include, store: false })
    const [thought, message] = output
    if (thought?.type !== 'reasoning' || message?.type !== 'message') throw new Error('the model did not think')
    const sealed = { ...thought, content: [] }
    const foreign = { ...sealed, encrypted_content: 'gAAAAAB' }
    const told = { ...foreign, summary: [{ type: 'summary_text' as const, text: 'Briefly.' }] }
    const say = (content: string) => ({ role: 'assistant' as const, content })
    const ask = (content: string) => ({ role: 'user' as const, content })
    const input = [ask('Is it?'), sealed, message, ask('Why?'), foreign, say('So.'), ask('So?'), told, say('It is.')]
    await responses.create({ model: 'scripted', input: [...input, ask('Not?')] })
    expect(server.prompts[1]).toBe(
      'user: Is it?\nassistant: [Hm.]Yes.\nuser: Why?\nassistant: So.\nuser: So?\nassistant: [Briefly.]It is.\nuser: Not?\n',
    )
    await server.close()
  })

  it('leave out what tools of OpenAI did in earlier turns, and say so', async () => {
    const { openai, promptText } = await client(['Hm.'])
    const search = { type: 'web_search_call', id: 'ws_1', status: 'completed', action: { type: 'search', query: 'a' } }
    const input = [{ role: 'user', content: 'Hi' }, search, { role: 'user', content: 'Why?' }] as never
    const { response } = await openai.responses.create({ ...body, input }).withResponse()
    expect(response.headers.get('x-oriel-ignored-parameters')).toBe('input[1]')
    expect(promptText()).toContain('Why?')
  })

  it('end a stream that fails with an error event', async () => {
    const { openai } = await client(['One'], new OrielError('engine_failed', 'The engine stopped.'))
    const types: string[] = []
    const reading = (async () => {
      for await (const { type } of await openai.responses.create({ ...body, stream: true })) types.push(type)
    })()
    await expect(reading).rejects.toThrow('The engine stopped.')
    expect(types.slice(-2)).toEqual(['response.output_text.delta', 'response.failed'])
  })
})
