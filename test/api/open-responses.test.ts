import type OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from 'vitest'
import type { z } from 'zod'
import type { response, responseEvent } from '../../src/api/responses/response.ts'
import { eventsOf, postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { responseResource, streamingEvent } from '../support/open-responses.ts'
import { startTurns } from '../support/scripted.ts'
import { startServer, type TestServer } from '../support/server.ts'

const user = (content: unknown) => ({ type: 'message', role: 'user', content })

const weather = {
  input: [user("What's the weather like in San Francisco?")],
  tools: [
    {
      type: 'function',
      name: 'get_weather',
      description: 'Get the current weather for a location',
      parameters: { type: 'object', properties: { location: { type: 'string' } }, required: ['location'] },
    },
  ],
}

describe('the compliance tests of Open Responses', () => {
  let oriel: TestServer
  beforeAll(async () => {
    oriel = await startServer()
  })
  afterAll(() => oriel.close())

  const ask = async (body: object, url = oriel.url, model = 'pocket') => {
    const answer = await postJson(`${url}/v1/responses`, { model, ...body })
    expect(answer.status).toBe(200)
    return answer
  }
  const whole = async (body: object, url?: string, model?: string) =>
    responseResource.parse(await (await ask(body, url, model)).json())
  const streamed = async (body: object, url?: string, model?: string) =>
    eventsOf<unknown>(await (await ask({ ...body, stream: true }, url, model)).text()).map((event) =>
      streamingEvent.parse(event),
    )

  it('basic text response', async () => {
    const { status, output } = await whole({ input: [user('Say hello in exactly 3 words.')] })
    expect({ status, items: output.length }).toEqual({ status: 'completed', items: 1 })
  })

  it('streaming response', async () => {
    const events = await streamed({ input: [user('Count from 1 to 5.')] })
    expect(events.at(-1)).toMatchObject({ type: 'response.completed', response: { status: 'completed' } })
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual([...events.keys()])
  })

  it('system prompt', async () => {
    const system = { type: 'message', role: 'system', content: 'You are a pirate. Always respond in pirate speak.' }
    expect((await whole({ input: [system, user('Say hello.')] })).status).toBe('completed')
  })

  it('image input', async () => {
    const content = [
      { type: 'input_text', text: 'What do you see in this image? Answer in one sentence.' },
      { type: 'input_image', image_url: dataUrl(await shape('red')) },
    ]
    const { status, output } = await whole({ input: [user(content)] })
    expect({ status, items: output.length }).toEqual({ status: 'completed', items: 1 })
  })

  it('multi-turn conversation', async () => {
    const input = [
      user('My name is Alice.'),
      { type: 'message', role: 'assistant', content: 'Hello Alice! How can I help you today?' },
      user('What is my name?'),
    ]
    expect((await whole({ input })).status).toBe('completed')
  })

  // The built-in model does not know when to call a function.
  it('tool calling, whole and streaming', async () => {
    const call = '<tool_call>{"name": "get_weather", "arguments": {"location": "San Francisco, CA"}}</tool_call>'
    const { url, close } = await startTurns([call, call])
    const { output, tools } = await whole(weather, url, 'scripted')
    expect(output).toMatchObject([{ type: 'function_call', name: 'get_weather' }])
    expect(tools).toEqual([{ ...weather.tools[0], strict: true }])
    const types = (await streamed(weather, url, 'scripted')).map(({ type }) => type)
    expect([...new Set(types)]).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.function_call_arguments.delta',
      'response.function_call_arguments.done',
      'response.output_item.done',
      'response.completed',
    ])
    await close()
  })

  it('the types of OpenAI’s client', () => {
    type Sent = Json<z.output<typeof response>>
    type Known = OpenAI.Responses.Response
    type Event = Exclude<Json<z.output<typeof responseEvent>>, { response: unknown }>
    expectTypeOf((sent: Sent['output'][number]): OpenAI.Responses.ResponseOutputItem => sent).toBeFunction()
    expectTypeOf((sent: Sent['tools'][number]): OpenAI.Responses.Tool => sent).toBeFunction()
    expectTypeOf((sent: Sent['tool_choice']): Known['tool_choice'] => sent).toBeFunction()
    expectTypeOf((sent: Event): OpenAI.Responses.ResponseStreamEvent => sent).toBeFunction()
    type Others = Omit<Sent, 'output' | 'tools' | 'tool_choice' | 'text' | 'reasoning' | 'user' | 'usage'>
    expectTypeOf((sent: Others): Partial<Known> => sent).toBeFunction()
    expectTypeOf((sent: NonNullable<Sent['usage']>): Known['usage'] => sent).toBeFunction()
  })
})

/** A type as JSON has it: a field that is undefined is not there. */
type Json<T> = T extends readonly (infer Item)[]
  ? Json<Item>[]
  : T extends object
    ? { [Name in keyof T]: Json<Exclude<T[Name], undefined>> }
    : T
