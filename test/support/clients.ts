import { createFireworks } from '@ai-sdk/fireworks'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import Anthropic from '@anthropic-ai/sdk'
import { HumanMessage } from '@langchain/core/messages'
import { ChatOpenAI } from '@langchain/openai'
import { generateObject, generateText, jsonSchema, streamText, type ToolSet, tool } from 'ai'
import { Ollama } from 'ollama'
import OpenAI from 'openai'
import { dataUrl, shape } from './images.ts'

/** Questions that clients of all APIs ask, each with the library that people use. */

const question = 'What is in this image?'
const compare = 'Compare the two images.'
export const answers = ['red', 'green', 'blue']
const schema = {
  type: 'object' as const,
  properties: { colour: { type: 'string' as const, enum: answers } },
  required: ['colour'],
  additionalProperties: false as const,
}

/** The same requests in the API of each client. */
export interface Client {
  text(): Promise<string>
  image(): Promise<string>
  images(): Promise<string>
  stream(): Promise<string>
  /** @returns the arguments of a call of `report` */
  call(): Promise<{ colour?: string }>
  /** @returns an answer that must follow the schema */
  object(): Promise<{ colour?: string }>
}

/** Where a client asks. */
export interface Where {
  readonly url: string
  readonly model: string
  readonly key: string
  readonly images: Readonly<Record<'red' | 'blue', string>>
}

const most = 200

function openai({ url, model, key, images: { red, blue } }: Where): Client {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 })
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

function vercel(
  provider: 'openai-compatible' | 'fireworks',
  { url, model, key, images: { red, blue } }: Where,
): Client {
  const chat =
    provider === 'fireworks'
      ? createFireworks({ baseURL: `${url}/inference/v1`, apiKey: key })(`accounts/fireworks/models/${model}`)
      : createOpenAICompatible({
          name: 'oriel',
          apiKey: key,
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

function langchain({ url, model, key, images: { red, blue } }: Where): Client {
  const chat = new ChatOpenAI({
    model,
    apiKey: key,
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

function anthropic({ url, model, key, images: { red, blue } }: Where): Client {
  const client = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 })
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

/** What they ask about. */
export const clientImages = async (): Promise<Where['images']> => ({
  red: dataUrl(await shape('red')),
  blue: dataUrl(await shape('blue', 'square')),
})

function ollama({ url, model, key, images: { red, blue } }: Where): Client {
  const client = new Ollama({ host: url, headers: { authorization: `Bearer ${key}` } })
  const data = (image: string) => image.slice(image.indexOf(',') + 1)
  const chat = (content: string, ...images: string[]) => ({
    model,
    messages: [{ role: 'user', content, images: images.map(data) }],
    options: { temperature: 0, num_predict: most },
  })
  const ask = async (...asked: Parameters<typeof chat>) => (await client.chat(chat(...asked))).message.content
  const object = async () => {
    const { message } = await client.chat({ ...chat(question, red), format: schema })
    return JSON.parse(message.content) as { colour?: string }
  }
  return {
    text: () => ask('Hello'),
    image: () => ask(question, red),
    images: () => ask(compare, red, blue),
    async stream() {
      let text = ''
      for await (const { message } of await client.chat({ ...chat(question, red), stream: true }))
        text += message.content
      return text
    },
    // This API has no way to insist on a call.
    call: object,
    object,
  }
}

export const clients: readonly (readonly [name: string, make: (where: Where) => Client])[] = [
  ['openai', openai],
  ['ai with @ai-sdk/openai-compatible', (where) => vercel('openai-compatible', where)],
  ['ai with @ai-sdk/fireworks', (where) => vercel('fireworks', where)],
  ['@langchain/openai', langchain],
  ['@anthropic-ai/sdk', anthropic],
  ['ollama', ollama],
]
