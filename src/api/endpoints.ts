import type { RouteHandlerMethod } from 'fastify'
import { z } from 'zod'
import { answerRoute, countRoute, type RouteOptions } from './answer-route.ts'
import { countEndpoint, messagesEndpoint } from './anthropic/messages.ts'
import { chatEndpoint } from './openai/chat.ts'
import { completionsEndpoint } from './openai/completions.ts'
import { modelList, modelObject } from './openai/models.ts'
import { tokenizeEndpoint } from './openai/tokenize.ts'
import * as answers from './openapi/answers.ts'
import { responsesEndpoint } from './responses/responses.ts'

/** A place of the API below each of its bases: what it does, and what the OpenAPI document tells of it. */
export interface Endpoint {
  method: 'GET' | 'POST'
  /** As the OpenAPI document has it. */
  path: string
  /** As the server matches it, where it is another. */
  pattern?: string
  tag: 'OpenAI' | 'Anthropic' | 'Models' | 'Counting'
  summary: string
  body?: z.ZodObject
  query?: readonly { name: string; description: string }[]
  answer: z.ZodType
  /** One event of a stream, where an answer may be one. */
  event?: z.ZodType
  error: z.ZodType
  handler: RouteHandlerMethod
}

export function endpointsOf(options: RouteOptions): Endpoint[] {
  const { deployments } = options.rooms
  const openai = { method: 'POST', tag: 'OpenAI', error: answers.openaiError } as const
  const anthropic = { method: 'POST', tag: 'Anthropic', error: answers.anthropicError } as const
  const models = { method: 'GET', tag: 'Models', error: answers.openaiError } as const
  return [
    {
      ...openai,
      path: '/chat/completions',
      summary: 'Answer a chat with pictures',
      body: chatEndpoint.schema,
      answer: z.union([answers.chatCompletion, answers.dryRunAnswer]),
      event: answers.chatChunk,
      handler: answerRoute(chatEndpoint, options),
    },
    {
      ...openai,
      path: '/completions',
      summary: 'Complete a text, with a picture at each <image>',
      body: completionsEndpoint.schema,
      answer: z.union([answers.textCompletion, answers.dryRunAnswer]),
      event: answers.textCompletion,
      handler: answerRoute(completionsEndpoint, options),
    },
    {
      ...openai,
      path: '/responses',
      summary: 'Answer items of the Responses API; nothing is stored',
      body: responsesEndpoint.schema,
      answer: answers.response,
      event: answers.typedEvent,
      handler: answerRoute(responsesEndpoint, options),
    },
    {
      ...anthropic,
      path: '/messages',
      summary: "Answer messages of Anthropic's API",
      body: messagesEndpoint.schema,
      answer: answers.message,
      event: answers.typedEvent,
      handler: answerRoute(messagesEndpoint, options),
    },
    {
      ...anthropic,
      path: '/messages/count_tokens',
      summary: 'Count the tokens of messages without an answer',
      body: countEndpoint.schema,
      answer: answers.messageCount,
      handler: countRoute(countEndpoint, options),
    },
    {
      ...openai,
      tag: 'Counting',
      path: '/tokenize',
      summary: 'Count a text or a chat, token by token and part by part, without an answer',
      body: tokenizeEndpoint.schema,
      answer: answers.tokenization,
      handler: countRoute(tokenizeEndpoint, options),
    },
    {
      ...models,
      path: '/models',
      summary: 'List the models that are here, and those that `oriel pull` could fetch',
      query: [
        { name: 'features', description: 'Only models that have this: `vision`' },
        { name: 'filter', description: 'The same' },
      ],
      answer: answers.modelListAnswer,
      handler: async ({ query }) => modelList(await deployments.list(), query as Record<string, string | string[]>),
    },
    {
      ...models,
      // A model's id may hold slashes: accounts/oriel/models/pocket.
      path: '/models/{model}',
      pattern: '/models/*',
      summary: 'One model, by any of its names',
      answer: answers.model,
      handler: async ({ params }) => modelObject(await deployments.describe((params as { '*': string })['*'])),
    },
  ]
}
