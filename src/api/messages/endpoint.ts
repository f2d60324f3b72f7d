import { answerEndpoint, countEndpoint } from '../answer-route.ts'
import { promptTokensOf } from '../answering/answer.ts'
import { invalidValue } from '../request/validation.ts'
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
  read(body, context) {
    if (body.max_tokens == null && context.dialect.defaults.requiresMaxTokens)
      throw invalidValue('max_tokens', 'max_tokens must be a number; found nothing.')
    return [readMessages(body, context)]
  },
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
  counted: (_, prompts) => ({ input_tokens: promptTokensOf(prompts) }),
})
