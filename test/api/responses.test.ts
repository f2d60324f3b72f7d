import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OrielError } from '../../src/errors.ts'
import { postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { startWords } from '../support/scripted.ts'
import { startServer, type TestServer } from '../support/server.ts'

const question = 'What is in this image?'

/** A tool whose schema has no grammar. */
const odd = {
  type: 'function',
  name: 'odd',
  parameters: { type: 'object', properties: { even: { type: 'integer', multipleOf: 2 } } },
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

  it('leave out the oldest turns of a conversation that exceeds the context, with truncation auto', async () => {
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
  })

  it('accept files', async () => {
    const response = await client.responses.create({
      ...asked(),
      input: [{ role: 'user', content: [{ type: 'input_file', file_data: red, filename: 'a.png' }] }],
    })
    expect(response.usage?.input_tokens).toBeGreaterThan(42)
  })

  it.each([
    [
      'an image without data',
      { input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'data:,' }] }] },
      'input[0].content[0].image_url',
    ],
    ['a previous_response_id', { input: 'Hi', previous_response_id: 'resp_1' }, 'previous_response_id'],
    [
      'a stored file',
      { input: [{ role: 'user', content: [{ type: 'input_file', file_id: 'file_1' }] }] },
      'input[0].content[0].file_data',
    ],
    ['a built-in tool', { input: 'Hi', tools: [{ type: 'web_search' }] }, 'tools[0].type'],
    ['a background response', { input: 'Hi', background: true }, 'background'],
    [
      'a call whose arguments are not a string',
      { input: [{ type: 'function_call', call_id: 'a', name: 'f', arguments: {} }] },
      'input[0].arguments',
      'must be a string; found an object',
    ],
    [
      'an item of an unknown kind',
      { input: [{ role: 'user', content: 'Hi' }, { type: 'computer_call' }] },
      'input[1].type',
      'must be "message", "function_call", "function_call_output" or "reasoning"; found "computer_call"',
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
      ': tools[0].parameters.properties.even has multipleOf',
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
      "The last message alone makes a prompt of 6011 tokens; the model's context holds 4096",
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
