import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { ChatOpenAI } from '@langchain/openai'
import { generateObject } from 'ai'
import OpenAI from 'openai'
import { zodResponseFormat } from 'openai/helpers/zod'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { postJson } from '../support/http.ts'
import { startServer, type TestServer } from '../support/server.ts'

let oriel: TestServer
let strict: TestServer
beforeAll(async () => {
  ;[oriel, strict] = await Promise.all([startServer(), startServer({ server: { strict: true } })])
})
afterAll(() => Promise.all([oriel.close(), strict.close()]))

const chat = (over: object, change = (text: string) => text, url = oriel.url) => {
  const messages = [{ role: 'user', content: 'Describe it.' }]
  const body = { model: 'pocket', max_tokens: 100, temperature: 1, seed: 1, messages, ...over }
  return postJson(`${url}/v1/chat/completions`, null, { body: change(JSON.stringify(body)) })
}

const schemaOf = (schema: unknown, strict?: boolean) => ({
  response_format: { type: 'json_schema', json_schema: { name: 'answer', schema, strict } },
})

/** What zod writes with bounds that JSON Schema has only because JavaScript has them. */
const answer = z.object({
  count: z.int().max(99),
  share: z.number().min(0.25).max(0.5),
  size: z.float32().min(0).max(9),
  tags: z.record(z.enum(['a', 'b']), z.boolean()),
  pair: z.tuple([z.boolean(), z.int().min(1).max(9)]),
  link: z
    .string()
    .max(2083)
    .regex(/^[a-c]{1,3}$/),
  kind: z.discriminatedUnion('type', [z.object({ type: z.literal('x') }), z.object({ type: z.literal('y') })]),
})

describe('schemas of zod', () => {
  it("are followed for OpenAI's client", async () => {
    // The client itself refuses maps, tuples and oneOf.
    const listed = answer.pick({ count: true, share: true, size: true, link: true })
    const client = new OpenAI({ baseURL: `${oriel.url}/v1`, apiKey: 'none', maxRetries: 0 })
    const { choices } = await client.chat.completions.parse({
      model: 'pocket',
      messages: [{ role: 'user', content: 'Describe it.' }],
      response_format: zodResponseFormat(listed, 'answer'),
      max_tokens: 300,
    })
    expect(listed.parse(choices[0]?.message.parsed)).toBeDefined()
  })

  it('are followed for the AI SDK', async () => {
    const provider = createOpenAICompatible({
      name: 'oriel',
      baseURL: `${oriel.url}/v1`,
      supportsStructuredOutputs: true,
    })
    const { object } = await generateObject({ model: provider('pocket'), schema: answer, prompt: 'Describe it.' })
    expect(answer.parse(object)).toEqual(object)
  })

  it('are followed for LangChain', async () => {
    const model = new ChatOpenAI({ model: 'pocket', apiKey: 'none', configuration: { baseURL: `${oriel.url}/v1` } })
    const made = await model.withStructuredOutput(answer, { method: 'jsonSchema' }).invoke('Describe it.')
    expect(answer.parse(made)).toEqual(made)
  })
})

describe('keywords that no grammar can hold to', () => {
  const schema = {
    type: 'object',
    properties: { list: { type: 'array', items: { type: 'boolean' }, maxItems: 3, uniqueItems: true } },
    required: ['list'],
  }

  it('are ignored and named in a header', async () => {
    const response = await chat(schemaOf(schema))
    expect(response.status).toBe(200)
    expect(response.headers.get('x-oriel-ignored-parameters')).toBe('response_format.properties.list.uniqueItems')
  })

  it('are refused if the schema is strict', async () => {
    const response = await chat(schemaOf(schema, true))
    const { error } = (await response.json()) as { error: { param: string; message: string } }
    expect(response.status).toBe(400)
    expect(error.param).toBe('response_format')
    expect(error.message).toContain('$.properties.list has uniqueItems, which cannot be enforced')
  })

  it('are named beside unknown parameters, for tools by their place', async () => {
    const tools = [{ type: 'function', function: { name: 'f', parameters: schema } }]
    const response = await chat({ tools, no_such: 1 })
    expect(response.headers.get('x-oriel-ignored-parameters')).toBe(
      'no_such, tools[0].function.parameters.properties.list.uniqueItems',
    )
    const both = await chat({ tools, ...schemaOf(schema) })
    expect(both.headers.get('x-oriel-ignored-parameters')).toBe(
      'response_format.properties.list.uniqueItems, tools[0].function.parameters.properties.list.uniqueItems',
    )
    const refused = (await (await chat({ tools, ...schemaOf(schema, true) })).json()) as { error: object }
    expect(refused.error).toMatchObject({
      param: 'response_format',
      message: expect.stringContaining('$.properties.list has uniqueItems, which cannot be enforced'),
    })
  })
})

describe('keywords that no grammar can hold to, on a strict server', () => {
  const unique = { type: 'array', items: { type: 'boolean' }, uniqueItems: true }
  const tool = (parameters: object) => ({ tools: [{ type: 'function', function: { name: 'f', parameters } }] })

  it.each<[string, object, string]>([
    ['of the answer', schemaOf(unique), 'response_format.uniqueItems'],
    ['of a streamed answer', { ...schemaOf(unique), stream: true }, 'response_format.uniqueItems'],
    ['of one prompt of several choices', { ...schemaOf(unique), n: 2 }, 'response_format.uniqueItems'],
    [
      'of a tool',
      tool({ type: 'object', properties: { list: unique } }),
      'tools[0].function.parameters.properties.list.uniqueItems',
    ],
    ['of a tool that no grammar has', tool({ type: 'no-type' }), 'tools[0].function.parameters'],
  ])('are refused: %s', async (_, over, param) => {
    const response = await chat(over, undefined, strict.url)
    expect(response.status).toBe(400)
    expect(response.headers.get('x-oriel-ignored-parameters')).toBeNull()
    expect(await response.json()).toMatchObject({ error: { param, message: `${param} cannot be enforced.` } })
  })

  it('are no others: a schema that can be held to is answered', async () => {
    const response = await chat(
      schemaOf({ type: 'array', items: { type: 'boolean' }, maxItems: 3 }),
      undefined,
      strict.url,
    )
    expect(response.status).toBe(200)
  })
})

describe('a request that would stop the engine', () => {
  /** As text, since JSON.stringify is recursive. */
  const nested = (depth: number, open: string, close: string) => `${open.repeat(depth)}{}${close.repeat(depth)}`
  const placeholder = 'the nested part'
  const tool = (parameters: unknown) => ({ tools: [{ type: 'function', function: { name: 'f', parameters } }] })

  it.each<[string, () => [over: object, part: string]]>([
    ['an array schema nested 140 deep', () => [schemaOf(placeholder), nested(140, '{"items":', '}')]],
    ['an array schema nested 5,000 deep', () => [schemaOf(placeholder), nested(5000, '{"type":"array","items":', '}')]],
    ['a constant nested 20,000 deep', () => [schemaOf({ const: placeholder }), nested(20_000, '[', ']')]],
    [
      'a default nested 20,000 deep',
      () => [schemaOf({ type: 'object', default: placeholder }), nested(20_000, '[', ']')],
    ],
    ['parameters of a tool nested 100,000 deep', () => [tool(placeholder), nested(100_000, '{"items":', '}')]],
    [
      'parameters of a forced tool nested 3,000 deep',
      () => [{ ...tool(placeholder), tool_choice: 'required' }, nested(3000, '{"items":', '}')],
    ],
    [
      '20,000 optional properties',
      () => [
        schemaOf(placeholder),
        JSON.stringify({ properties: Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`p${i}`, {}])) }),
      ],
    ],
    [
      'a grammar of very many optional parts',
      () => [
        { response_format: { type: 'grammar', grammar: placeholder } },
        JSON.stringify(`root ::= ${'[a-z]? '.repeat(9000)}`),
      ],
    ],
  ])('is refused as its mistake: %s', async (_, over) => {
    const [body, part] = over()
    const response = await chat(body, (text) => text.replace(JSON.stringify(placeholder), part))
    // The API refuses bodies that are nested very deep, or have very many parts, before it reads them.
    expect([400, 413]).toContain(response.status)
    expect(await response.json()).toMatchObject({
      error: {
        type: 'invalid_request_error',
        message: expect.stringMatching(/deep|large|ambiguous|nest|many|more than/),
      },
    })
  })

  it('does not end other answers: thousands of alternatives, and a grammar of very many ways', async () => {
    const digits = `root ::= (${Array.from({ length: 9000 }, (_, i) => `"${i}"`).join('|')})+`
    const grammars = [
      digits,
      'root ::= "-" root root | "-" root "a" | "-"',
      `root ::= "-" (${'[a-z]? '.repeat(5000)})*`,
    ]
    const innocent = chat({ max_tokens: 400, ignore_eos: true })
    const [first, second, third] = await Promise.all(
      grammars.map((grammar) => chat({ ignore_eos: true, response_format: { type: 'grammar', grammar } })),
    )
    expect([first?.status, second?.status, third?.status]).toEqual([200, 200, 400])
    const said = (await first?.json()) as { choices: { message: { content: string } }[] }
    expect(said.choices[0]?.message.content).toMatch(/^\d+$/)
    const other = (await (await innocent).json()) as { usage: { completion_tokens: number } }
    expect(other.usage.completion_tokens).toBe(400)
  })
})
