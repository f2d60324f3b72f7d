import { answerEndpoint } from '../answer-route.ts'
import { namedFrame } from '../sse.ts'
import { events, response, responseEvent, whole } from './answer.ts'
import { readResponses } from './read.ts'
import { responsesRequest } from './schema.ts'

/** `POST /responses`: OpenAI's Responses API without its stored state. */
export const responsesEndpoint = answerEndpoint({
  path: '/responses',
  tag: 'OpenAI',
  summary: 'Answer a request of the Responses API. Nothing is stored',
  body: responsesRequest,
  answer: response,
  event: responseEvent,
  read: (body, context) => [readResponses(body, context)],
  whole,
  events,
  framing: ({ dialect, requestId }) => {
    let sent = 0
    return {
      event: (event) => {
        sent = event.sequence_number + 1
        return namedFrame(event)
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
})
