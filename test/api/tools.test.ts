import OpenAI from 'openai'
import { afterEach, describe, expect, it } from 'vitest'
import type { GenerateRequest } from '../../src/engine/index.ts'
import { endEvents, promptEvent, startScripted, textEvent } from '../support/scripted.ts'

let close = async (): Promise<void> => {}
afterEach(() => close())

const tools: OpenAI.ChatCompletionTool[] = [
  {
    type: 'function',
    function: {
      name: 'get_weather',
      description: 'The weather of a city.',
      parameters: {
        type: 'object',
        properties: { city: { $ref: '#/$defs/city' } },
        $defs: { city: { type: 'string' } },
      },
    },
  },
  { type: 'function', function: { name: 'now' } },
]

/** A client of a server whose model says these words. */
async function client(words: readonly string[], chatTemplate?: string) {
  const asked: GenerateRequest[] = []
  const server = await startScripted(
    async function* (request) {
      asked.push(request)
      yield promptEvent
      for (const [before, word] of words.entries()) yield textEvent(word, before + 1)
      yield* endEvents(words.length)
    },
    chatTemplate === undefined ? {} : { chatTemplate },
  )
  close = server.close
  const openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 })
  const promptText = () => (asked[0]?.prompt ?? []).map((piece) => (piece.kind === 'text' ? piece.text : '')).join('')
  return { openai, asked, promptText }
}

const call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
const request = {
  model: 'scripted',
  tools,
  messages: [{ role: 'user' as const, content: 'How is the weather in Paris?' }],
}

describe('tools', () => {
  it('are called with their arguments', async () => {
    const { openai } = await client(['Let me look.\n', call, '\n', call])
    const { choices } = await openai.chat.completions.create(request)
    expect(choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: { role: 'assistant', content: 'Let me look.' },
    })
    expect(choices[0]?.message.tool_calls).toEqual(
      [0, 1].map(() => ({
        id: expect.stringMatching(/^call_\w+$/),
        type: 'function',
        function: { name: 'get_weather', arguments: '{"city": "Paris"}' },
      })),
    )
  })

  it('are called in a stream, with their arguments in parts', async () => {
    const { openai } = await client([...`${call}\n${call}`])
    const stream = openai.chat.completions.stream(request)
    const deltas: string[] = []
    stream.on('tool_calls.function.arguments.delta', ({ index, arguments_delta }) =>
      deltas.push(`${index}${arguments_delta}`),
    )
    const { choices } = await stream.finalChatCompletion()
    expect(choices[0]?.finish_reason).toBe('tool_calls')
    expect(choices[0]?.message.tool_calls?.map((made) => made.type === 'function' && made.function.arguments)).toEqual([
      '{"city": "Paris"}',
      '{"city": "Paris"}',
    ])
    expect(deltas.length).toBeGreaterThan(20)
  })

  it('are called once without parallel_tool_calls', async () => {
    const { openai } = await client([call, call])
    const { choices } = await openai.chat.completions.create({ ...request, parallel_tool_calls: false })
    expect(choices[0]?.message.tool_calls).toHaveLength(1)
  })

  it('are not parsed from the text with tool_choice none', async () => {
    const { openai, promptText } = await client([call])
    const { choices } = await openai.chat.completions.create({ ...request, tool_choice: 'none' })
    expect(choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: call } })
    expect(promptText()).not.toContain('get_weather')
  })

  it('set a grammar if a call is required', async () => {
    const { openai, asked } = await client(['{"name": "get_weather", "arguments": {"city": "Paris"}}'])
    const { choices } = await openai.chat.completions.create({ ...request, tool_choice: 'required' })
    expect(choices[0]?.message).toMatchObject({ content: null, tool_calls: [{ function: { name: 'get_weather' } }] })
    const grammar = asked[0]?.sampling.grammar
    expect(grammar).toMatchObject({
      kind: 'composed',
      text: expect.stringMatching(/^root ::= call\n[\s\S]*"\\"get_weather\\""[\s\S]*"\\"now\\""/),
      schemas: { 'tool-0': { schema: tools[0]?.type === 'function' ? tools[0].function.parameters : null } },
    })
  })

  it('set a grammar of any text and of calls if a call is not required, and of a format or calls if there is one', async () => {
    const { openai, asked } = await client(['Hm.'])
    await openai.chat.completions.create(request)
    expect(asked[0]?.sampling.grammar).toMatchObject({
      kind: 'composed',
      text: expect.stringMatching(/^root ::= begin\n/),
    })
    await openai.chat.completions.create({ ...request, tool_choice: 'none' })
    expect(asked[1]?.sampling.grammar).toBeNull()
    await openai.chat.completions.create({ ...request, response_format: { type: 'json_object' } })
    expect(asked[2]?.sampling.grammar).toMatchObject({
      kind: 'composed',
      text: expect.stringMatching(/^root ::= format \| ws marked\n/),
      schemas: { format: { schema: { type: 'object' } }, 'tool-0': {} },
    })
    // Calls do not fit into a grammar of the client, which has them or not.
    const text = 'root ::= "Hm."'
    const grammar = { response_format: { type: 'grammar', grammar: text } as unknown as { type: 'text' } }
    await openai.chat.completions.create({ ...request, ...grammar })
    expect(asked[3]?.sampling.grammar).toEqual({ kind: 'gbnf', text })
  })

  it('are called where the answer would follow a schema, with markup only and not within it', async () => {
    const body = { ...request, response_format: { type: 'json_object' as const } }
    const { openai } = await client([' ', '<tool', '_call>{"name": "now", "arguments": {}}</tool_call>', '\n', call])
    const { choices } = await openai.chat.completions.create(body)
    expect(choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: { content: null, tool_calls: [{ function: { name: 'now' } }, { function: { name: 'get_weather' } }] },
    })
    await close()
    const answer = JSON.stringify({ note: call })
    const other = await client([...answer])
    const said = await other.openai.chat.completions.create(body)
    expect(said.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: answer } })
  })

  it('may have many long descriptions, although a template writes each argument in tags of its own', async () => {
    const { openai, asked } = await client(
      ['Sunny.'],
      '{% for m in messages %}{{ m.content }}{% endfor %}{% if tools %}<parameter=x>{% endif %}',
    )
    const properties = Object.fromEntries(
      Array.from({ length: 140 }, (_, i) => [`p${i}`, { type: 'integer', description: 'd'.repeat(40_000) }]),
    )
    const tools = [{ type: 'function' as const, function: { name: 'many', parameters: { properties } } }]
    const { choices } = await openai.chat.completions.create({ ...request, tools })
    expect(choices[0]?.message.content).toBe('Sunny.')
    const { length } = JSON.stringify(tools)
    expect(JSON.stringify(asked[0]?.sampling.grammar).length).toBeLessThan(1.1 * length)
  })

  it('are called after a thought that the template begins', async () => {
    const template =
      '{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}<think>\n{% endif %}'
    const { openai, asked } = await client(['Hm.\n</think>\n\n', '{"name": "now", "arguments": {}}'], template)
    const { choices } = await openai.chat.completions.create({ ...request, tool_choice: 'required' })
    expect(choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: { reasoning_content: 'Hm.', tool_calls: [{ function: { name: 'now', arguments: '{}' } }] },
    })
    expect(asked[0]?.sampling).toMatchObject({ grammar: { kind: 'composed' }, grammarAfter: '</think>' })
    // A thought that stays in the text changes nothing about the call after it.
    const body = { ...request, tool_choice: 'required' as const, separate_reasoning: false }
    for (const [more, content] of [
      [{}, '<think>\nHm.\n</think>'],
      [{ echo_last: 1 }, 'Hm.\n</think>'],
    ] as const) {
      const within = await openai.chat.completions.create({ ...body, ...more })
      expect(within.choices[0]).toMatchObject({
        finish_reason: 'tool_calls',
        message: { content, tool_calls: [{ function: { name: 'now', arguments: '{}' } }] },
      })
    }
  })

  it('are not listed among the tokens of the content, nor are thoughts', async () => {
    const words = ['<think>', 'Hm.', '</think>', 'I ', 'look.', '<tool_call>', '{"name": "now"}', '</tool_call>']
    const server = await startScripted(async function* () {
      yield promptEvent
      for (const [before, word] of words.entries()) {
        const token = { id: before, bytes: Buffer.from(word), logprob: -1, top: [] }
        yield { ...textEvent(word, before + 1), tokens: [token] }
      }
      yield* endEvents(words.length)
    })
    close = server.close
    const openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 })
    const content = [{ token: 'I ' }, { token: 'look.' }]
    const { choices } = await openai.chat.completions.create({ ...request, logprobs: true })
    expect(choices[0]).toMatchObject({ message: { content: 'I look.' }, logprobs: { content } })
    const streamed: unknown[] = []
    for await (const { choices } of await openai.chat.completions.create({ ...request, logprobs: true, stream: true }))
      streamed.push(...(choices[0]?.logprobs?.content ?? []))
    expect(streamed).toMatchObject(content)
    // A number asks for all that the model wrote.
    const all = await openai.chat.completions.create({ ...request, ...{ logprobs: 1 as unknown as true } })
    expect(all.choices[0]?.logprobs).toMatchObject({ tokens: words })
  })

  it('are not called by an answer that follows a schema, however much it looks like a call', async () => {
    const answer = ['{"name": "now",', ' "reason": "It is late."}']
    const { openai } = await client(answer)
    const body = { ...request, response_format: { type: 'json_object' as const } }
    const { choices } = await openai.chat.completions.create(body)
    expect(choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: answer.join('') } })
    const parts: string[] = []
    for await (const { choices } of await openai.chat.completions.create({ ...body, stream: true }))
      if (choices[0]?.delta.content) parts.push(choices[0].delta.content)
    expect(parts).toEqual(answer)
  })

  it('cannot be required where tool_choice allows none of them', async () => {
    const { openai } = await client(['Hm.'])
    const tool_choice = { type: 'allowed_tools' as const, allowed_tools: { mode: 'required' as const, tools: [] } }
    await expect(openai.chat.completions.create({ ...request, tool_choice })).rejects.toMatchObject({
      status: 400,
      message: expect.stringContaining('requires a call, but allows none of the tools.'),
    })
  })

  it('have bounded schemas, those of all tools together', async () => {
    const { openai } = await client(['Hm.'])
    const listing = (name: string): OpenAI.ChatCompletionTool => ({
      type: 'function',
      function: { name, parameters: { enum: Array(60_000).fill(0) } },
    })
    await openai.chat.completions.create({ ...request, tools: [listing('one')] })
    const both = openai.chat.completions.create({ ...request, tools: [listing('one'), listing('two')] })
    await expect(both).rejects.toMatchObject({
      status: 400,
      param: 'tools[1].function.parameters',
      message: expect.stringContaining('more than 20000 objects and arrays or 100000 members'),
    })
  })

  it('have bounded schemas that are sent as text', async () => {
    const { openai } = await client(['Hm.'])
    const guided_json = JSON.stringify({ enum: Array(600_000).fill(0) })
    await expect(openai.chat.completions.create({ ...request, ...{ guided_json } })).rejects.toMatchObject({
      status: 400,
      param: 'guided_json',
      message: expect.stringMatching(/is a JSON Schema of 12000\d\d characters; as text it may have 1000000\.$/),
    })
  })

  it('are called up to 128 times in one message', async () => {
    const { openai } = await client(['Hm.'])
    const calling = (calls: number) =>
      openai.chat.completions.create({
        ...request,
        messages: [
          ...request.messages,
          {
            role: 'assistant',
            tool_calls: Array.from({ length: calls }, (_, i) => ({
              ...{ id: `call_${i}`, type: 'function' },
              function: { name: 'now', arguments: '{}' },
            })),
          },
        ],
      })
    await calling(128)
    await expect(calling(129)).rejects.toMatchObject({ status: 400, param: 'messages[1].tool_calls' })
  })

  it('may be narrowed to some of them by tool_choice', async () => {
    const { openai, asked } = await client(['{"name": "now", "arguments": {}}'])
    const choices: OpenAI.ChatCompletionToolChoiceOption[] = [
      { type: 'function', function: { name: 'now' } },
      {
        type: 'allowed_tools',
        allowed_tools: { mode: 'required', tools: [{ type: 'function', function: { name: 'now' } }] },
      },
    ]
    for (const tool_choice of choices) {
      const answer = await openai.chat.completions.create({ ...request, tool_choice })
      expect(answer.choices[0]?.message.tool_calls).toMatchObject([{ function: { name: 'now', arguments: '{}' } }])
      const grammar = asked.at(-1)?.sampling.grammar
      expect(grammar).toMatchObject({ text: expect.stringContaining(String.raw`"\"now\""`) })
      expect(grammar).not.toMatchObject({ text: expect.stringContaining('get_weather') })
    }
  })

  it('are described in the system prompt if the template does not support them, with earlier calls', async () => {
    const { openai, promptText } = await client(['Sunny.'])
    await openai.chat.completions.create({
      ...request,
      messages: [
        { role: 'system', content: 'Be brief.' },
        ...request.messages,
        {
          role: 'assistant',
          content: null,
          tool_calls: [
            { id: 'call_1', type: 'function', function: { name: 'get_weather', arguments: '{"city":"Paris"}' } },
          ],
        },
        { role: 'tool', tool_call_id: 'call_1', content: 'sunny' },
      ],
    })
    expect(promptText()).toContain(
      '<|im_start|>system\nBe brief.\n\nYou may call these functions:\n<tools>\n{"type":"function"',
    )
    expect(promptText()).toContain(
      '<|im_start|>assistant\n\n<tool_call>\n{"name":"get_weather","arguments":{"city":"Paris"}}\n</tool_call><|im_end|>',
    )
    expect(promptText()).toContain('<|im_start|>user\n<tool_response>\nsunny\n</tool_response><|im_end|>')
  })

  it('are passed to a template that supports them, with earlier calls', async () => {
    const template =
      '{% if tools %}{% for t in tools %}[{{ t.function.name }}: {{ t | tojson }}]{% endfor %}{% endif %}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.tool_calls %}{% for c in m.tool_calls %}{{ c.function.name }}={{ c.function.arguments.city }}{% endfor %}{% endif %}{{ m.tool_call_id }}{% endfor %}'
    const { openai, promptText } = await client(['Sunny.'], template)
    await openai.chat.completions.create({
      ...request,
      messages: [
        ...request.messages,
        {
          role: 'assistant',
          tool_calls: [
            { id: 'call_1', type: 'function', function: { name: 'get_weather', arguments: '{"city":"Paris"}' } },
          ],
        },
        { role: 'tool', tool_call_id: 'call_1', content: 'sunny' },
      ],
    })
    expect(promptText()).toMatch(/^\[get_weather: \{.*"\$defs".*\}\]\[now: /)
    expect(promptText()).toMatch(/<assistant>get_weather=Paris<tool>sunnycall_1$/)
  })
})

describe('thoughts', () => {
  it('are returned apart from the answer, whole and in a stream', async () => {
    const { openai } = await client([...'<think>\nA circle.\n</think>\n\nIt is a circle.'])
    const chat = { model: 'scripted', messages: request.messages }
    const { choices } = await openai.chat.completions.create(chat)
    expect(choices[0]?.message).toMatchObject({ content: 'It is a circle.', reasoning_content: 'A circle.' })
    const pieces = { content: '', reasoning_content: '' }
    for await (const chunk of await openai.chat.completions.create({ ...chat, stream: true }))
      for (const key of ['content', 'reasoning_content'] as const)
        pieces[key] += (chunk.choices[0]?.delta as Partial<typeof pieces> | undefined)?.[key] ?? ''
    expect(pieces).toEqual({ content: 'It is a circle.', reasoning_content: 'A circle.' })
  })

  it('are turned on and off by the parameters of every dialect', async () => {
    const template =
      '{{ enable_thinking }} {{ reasoning_effort }} {{ budget }}{% for m in messages %}{{ m.content }}{% endfor %}'
    const asked = async (more: object): Promise<string> => {
      const { openai, promptText } = await client(['Yes.'], template)
      const body = { model: 'scripted', messages: request.messages, ...more }
      await openai.chat.completions.create(body as OpenAI.ChatCompletionCreateParamsNonStreaming)
      await close()
      return promptText()
        .replace(/How .*/, '')
        .trim()
    }
    expect(await asked({ enable_thinking: false })).toBe('false')
    expect(await asked({ thinking: { type: 'enabled', budget_tokens: 2000 } })).toBe('true')
    expect(await asked({ reasoning_effort: 'none' })).toBe('false none')
    expect(await asked({ reasoning_effort: 'high' })).toBe('high')
    expect(await asked({ chat_template_kwargs: { budget: 7 } })).toBe('7')
    await expect(asked({ reasoning_effort: 'low', thinking: { type: 'disabled' } })).rejects.toThrow('send one of them')
  })

  it('stay in the text with separate_reasoning false', async () => {
    const { openai } = await client(['<think>Hm.</think>Yes.'])
    const body = { model: 'scripted', messages: request.messages, separate_reasoning: false }
    expect((await openai.chat.completions.create(body)).choices[0]?.message.content).toBe('<think>Hm.</think>Yes.')
  })

  it('stay in the text with the beginning that the template wrote', async () => {
    const template = '{% for m in messages %}{{ m.content }}{% endfor %}{{ "<think>\\n" }}'
    const { openai } = await client(['Hm.</think>', 'Yes.'], template)
    const body = { model: 'scripted', messages: request.messages, separate_reasoning: false }
    const contentOf = async (more: object) =>
      (await openai.chat.completions.create({ ...body, ...more })).choices[0]?.message.content
    expect(await contentOf({})).toBe('<think>\nHm.</think>Yes.')
    expect(await contentOf({ echo: true })).toMatch(/Paris\?<think>\nHm\.<\/think>Yes\.$/)
    const begun = [...request.messages, { role: 'assistant', content: '<think>Well,' }]
    expect(await contentOf({ messages: begun, continue_final_message: true })).toBe('Hm.</think>Yes.')
  })

  it('are counted as reasoning tokens', async () => {
    const { openai } = await client(['<think>', 'A', ' circle.', '</think>', 'It is.'])
    const chat = { model: 'scripted', messages: request.messages }
    const counted = { completion_tokens: 5, completion_tokens_details: { reasoning_tokens: 4 } }
    expect((await openai.chat.completions.create(chat)).usage).toMatchObject(counted)
    const chunks: OpenAI.ChatCompletionChunk[] = []
    for await (const chunk of await openai.chat.completions.create({ ...chat, stream: true })) chunks.push(chunk)
    expect(chunks.at(-1)?.usage).toMatchObject(counted)
    const { usage } = await openai.responses.create({ model: 'scripted', input: 'What is it?' })
    expect(usage).toMatchObject({ output_tokens: 5, output_tokens_details: { reasoning_tokens: 4 } })
  })

  it('are counted by their length where a slow reader gets a thought and an answer at once', async () => {
    const server = await startScripted(async function* () {
      yield promptEvent
      yield textEvent(`<think>${'a '.repeat(15)}</think>${'b '.repeat(5)}`, 22)
      yield* endEvents(22)
    })
    close = server.close
    const openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 })
    const { usage } = await openai.chat.completions.create({ model: 'scripted', messages: request.messages })
    const { reasoning_tokens: counted } = usage?.completion_tokens_details ?? {}
    expect(counted).toBeGreaterThan(14)
    expect(counted).toBeLessThan(19)
  })
})
