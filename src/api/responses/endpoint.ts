import { z } from 'zod'
import { answerEndpoint, countEndpoint } from '../answer-route.ts'
import { promptTokensOf } from '../answering/answer.ts'
import { largeFrame, namedFrame } from '../sse.ts'
import { events, whole } from './answer.ts'
import { readResponses } from './read.ts'
import { response, responseEvent } from './response.ts'
import { inputTokensRequest, responsesRequest } from './schema.ts'
import { deleteEndpoint, inputItemsEndpoint, retrieveEndpoint } from './stored.ts'

export const inputTokens = z.strictObject({ object: z.literal('response.input_tokens'), input_tokens: z.int() })

/** OpenAI's Responses API. */
export const responsesEndpoints = [
  answerEndpoint({
    path: '/responses',
    tag: 'OpenAI',
    summary: 'Answer a request of the Responses API',
    body: responsesRequest,
    answer: response,
    event: responseEvent,
    read: async (body, context) => [await readResponses(body, context)],
    whole,
    events,
    framing: ({ dialect, requestId }) => {
      let sent = 0
      return {
        event: (event) => {
          sent = event.sequence_number + 1
          return event.type === 'response.completed' || event.type.endsWith('.done')
            ? largeFrame(event)
            : namedFrame(event)
        },
        // OpenAI's clients throw for an event with an `error`, and for no other.
        failure: (error) => {
          const { message, code = null, param = null } = error
          const body = dialect.errors.body(error, requestId)
          return namedFrame({ ...body, type: 'error', code, message, param, sequence_number: sent })
        },
        end: '',
      }
    },
  }),
  countEndpoint({
    path: '/responses/input_tokens',
    tag: 'OpenAI',
    summary: 'Count the tokens of a request of the Responses API without an answer',
    body: inputTokensRequest,
    answer: inputTokens,
    read: async (body, context) => [await readResponses(body, context)],
    counted: (_, prompts) => ({
      object: 'response.input_tokens' as const,
      input_tokens: promptTokensOf(prompts),
    }),
  }),
  retrieveEndpoint,
  deleteEndpoint,
  inputItemsEndpoint,
]
