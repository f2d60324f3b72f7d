import { createFireworks } from '@ai-sdk/fireworks'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import Anthropic from '@anthropic-ai/sdk'
import { HumanMessage } from '@langchain/core/messages'
import { ChatOpenAI } from '@langchain/openai'
import { generateObject, generateText, jsonSchema, streamText, type ToolSet, tool } from 'ai'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { backends } from '../support/backends.ts'
import { dataUrl, shape } from '../support/images.ts'

let url: string
let model: string
let red: string
let blue: string
beforeAll(async () => {
  red = dataUrl(await shape('red'))
  blue = dataUrl(await shape('blue', 'square'))
})

const question = 'What is in this image?'
const compare = 'Compare the two images.'
const colours = ['red', 'green', 'blue']
const schema = {
  type: 'object' as const,
  properties: { colour: { type: 'string' as const, enum: colours } },
  required: ['colour'],
  additionalProperties: false as const,
}

/** The same requests in the API of each client. */
interface Client {
  text(): Promise<string>
  image(): Promise<string>
  images(): Promise<string>
  stream(): Promise<string>
  /** @returns the arguments of a call of `report` */
  call(): Promise<{ colour?: string }>
  /** @returns an answer that must follow the schema */
  object(): Promise<{ colour?: string }>
}

const most = 200

function openai(): Client {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 })
  const ask = async (content: OpenAI.ChatCompletionContentPart[], more: object = {}) => {
    const { choices } = await client.chat.completions.create({
      model,
      temperature: 0,
      max_tokens: most,
      messages: [{ role: 'user', content }],
      ...more,
    })
    return choices[0]?.message
  }
  const text = (words: string) => ({ type: 'text', text: words }) as const
  const image = (data: string) => ({ type: 'image_url', image_url: { url: data } }) as const
  return {
    text: async () => (await ask([text('Hello')]))?.content ?? '',
    image: async () => (await ask([image(red), text(question)]))?.content ?? '',
    images: async () => (await ask([image(red), image(blue), text(compare)]))?.content ?? '',
    async stream() {
      const stream = client.chat.completions.stream({
        model,
        temperature: 0,
        max_tokens: most,
        messages: [{ role: 'user', content: [image(red), text(question)] }],
      })
      return (await stream.finalContent()) ?? ''
    },
    async call() {
      const message = await ask([image(red), text(question)], {
        tools: [{ type: 'function', function: { name: 'report', parameters: schema } }],
        tool_choice: 'required',
      })
      const [call] = message?.tool_calls ?? []
      return call?.type === 'function' ? JSON.parse(call.function.arguments) : {}
    },
    async object() {
      const response_format = { type: 'json_schema', json_schema: { name: 'report', schema, strict: true } }
      return JSON.parse((await ask([image(red), text(question)], { response_format }))?.content ?? '')
    },
  }
}

function vercel(provider: 'openai-compatible' | 'fireworks'): Client {
  const chat =
    provider === 'fireworks'
      ? createFireworks({ baseURL: `${url}/inference/v1`, apiKey: 'none' })(`accounts/fireworks/models/${model}`)
      : createOpenAICompatible({
          name: 'oriel',
          baseURL: `${url}/v1`,
          supportsStructuredOutputs: true,
        })(model)
  const settings = { model: chat, temperature: 0, maxOutputTokens: most, maxRetries: 0 }
  const messages = (text: string, ...images: string[]) => [
    {
      role: 'user' as const,
      content: [...images.map((image) => ({ type: 'image' as const, image })), { type: 'text' as const, text }],
    },
  ]
  // Its types do not accept a tool without `execute` under exactOptionalPropertyTypes.
  const report = tool({
    description: 'Report the colour.',
    inputSchema: jsonSchema<{ colour: string }>(schema),
  }) as ToolSet[string]
  return {
    text: async () => (await generateText({ ...settings, prompt: 'Hello' })).text,
    image: async () => (await generateText({ ...settings, messages: messages(question, red) })).text,
    images: async () => (await generateText({ ...settings, messages: messages(compare, red, blue) })).text,
    async stream() {
      let text = ''
      for await (const part of streamText({ ...settings, messages: messages(question, red) }).textStream) text += part
      return text
    },
    async call() {
      const { toolCalls } = await generateText({
        ...settings,
        messages: messages(question, red),
        tools: { report },
        toolChoice: 'required',
      })
      return toolCalls[0]?.input as { colour: string }
    },
    async object() {
      const { object } = await generateObject({
        ...settings,
        messages: messages(question, red),
        schema: jsonSchema<{ colour: string }>(schema),
      })
      return object
    },
  }
}

function langchain(): Client {
  const chat = new ChatOpenAI({
    model,
    apiKey: 'none',
    temperature: 0,
    maxTokens: most,
    maxRetries: 0,
    configuration: { baseURL: `${url}/v1` },
  })
  const message = (text: string, ...images: string[]) => [
    new HumanMessage({
      content: [...images.map((data) => ({ type: 'image_url', image_url: { url: data } })), { type: 'text', text }],
    }),
  ]
  return {
    text: async () => (await chat.invoke('Hello')).text,
    image: async () => (await chat.invoke(message(question, red))).text,
    images: async () => (await chat.invoke(message(compare, red, blue))).text,
    async stream() {
      let text = ''
      for await (const chunk of await chat.stream(message(question, red))) text += chunk.text
      return text
    },
    async call() {
      const report = { type: 'function' as const, function: { name: 'report', parameters: schema } }
      const { tool_calls } = await chat.bindTools([report], { tool_choice: 'required' }).invoke(message(question, red))
      return tool_calls?.[0]?.args ?? {}
    },
    object: () =>
      chat
        .withStructuredOutput<{ colour: string }>({ title: 'report', ...schema }, { method: 'jsonSchema' })
        .invoke(message(question, red)),
  }
}

function anthropic(): Client {
  const client = new Anthropic({ baseURL: url, apiKey: 'none', maxRetries: 0 })
  const image = (data: string) =>
    ({
      type: 'image',
      source: { type: 'base64', media_type: 'image/png', data: data.slice(data.indexOf(',') + 1) },
    }) as const
  const text = (words: string) => ({ type: 'text', text: words }) as const
  const body = (...content: (ReturnType<typeof image> | ReturnType<typeof text>)[]) => ({
    model,
    max_tokens: most,
    temperature: 0,
    messages: [{ role: 'user' as const, content }],
  })
  const ask = async (...content: Parameters<typeof body>) => {
    const [block] = (await client.messages.create(body(...content))).content
    return block?.type === 'text' ? block.text : ''
  }
  const call = async () => {
    const message = await client.messages.create({
      ...body(image(red), text(question)),
      tools: [{ name: 'report', input_schema: schema }],
      tool_choice: { type: 'tool', name: 'report' },
    })
    const [block] = message.content
    return block?.type === 'tool_use' ? (block.input as { colour: string }) : {}
  }
  return {
    text: () => ask(text('Hello')),
    image: () => ask(image(red), text(question)),
    images: () => ask(image(red), image(blue), text(compare)),
    stream: () => client.messages.stream(body(image(red), text(question))).finalText(),
    call,
    // This API has no other way to set a schema.
    object: call,
  }
}

const clients: [name: string, make: () => Client][] = [
  ['openai', openai],
  ['ai with @ai-sdk/openai-compatible', () => vercel('openai-compatible')],
  ['ai with @ai-sdk/fireworks', () => vercel('fireworks')],
  ['@langchain/openai', langchain],
  ['@anthropic-ai/sdk', anthropic],
]

describe.each(backends)('a client of the model $model', ({ start, greeting, oneImage, twoImages, ...backend }) => {
  let server: { url: string; close(): Promise<void> }
  beforeAll(async () => {
    server = await start()
    url = server.url
    model = backend.model
  })
  afterAll(() => server.close())

  it.each(clients)('gets answers about no image, one and two: %s', async (_, make) => {
    const client = make()
    expect(await client.text()).toBe(greeting)
    expect(await client.image()).toBe(oneImage)
    expect(await client.images()).toBe(twoImages)
  })

  it.each(clients)('streams the same answer: %s', async (_, make) => {
    expect(await make().stream()).toBe(oneImage)
  })

  // Tool calls and schemas need a model that generates them.
  it.runIf(backend.model === 'pocket').each(clients)(
    'gets tool calls, and answers that follow a schema: %s',
    async (_, make) => {
      const client = make()
      expect(colours).toContain((await client.call()).colour)
      expect(colours).toContain((await client.object()).colour)
    },
  )
})
