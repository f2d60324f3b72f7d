import { answerEndpoint, countEndpoint } from '../answer-route.ts'
import { namedFrame } from '../sse.ts'
import { events, message, messageCount, messageEvent, whole } from './answer.ts'
import { readMessages } from './read.ts'
import { countRequest, messagesRequest } from './schema.ts'

export const messagesEndpoint = answerEndpoint({
  path: '/messages',
  tag: 'Anthropic',
  summary: "Answer a request of Anthropic's Messages API",
  body: messagesRequest,
  answer: message,
  event: messageEvent,
  read: (body, context) => [readMessages(body, context)],
  whole,
  events,
  framing: ({ dialect, requestId }) => ({
    event: namedFrame,
    failure: (error) => namedFrame({ ...dialect.errors.body(error, requestId), type: 'error' }),
    end: '',
  }),
})

export const countTokensEndpoint = countEndpoint({
  path: '/messages/count_tokens',
  tag: 'Anthropic',
  summary: 'Count the tokens of messages without an answer',
  body: countRequest,
  answer: messageCount,
  read: (body, context) => [readMessages(body, context)],
  counted: (_, prompts) => ({ input_tokens: prompts.reduce((sum, { promptTokens }) => sum + promptTokens, 0) }),
})
