import { OrielError } from '../../errors.ts'
import { answerEndpoint, type Work } from '../answer-route.ts'
import { withBackend } from '../answering/answer.ts'
import { dataFraming } from '../sse.ts'
import { anyTranscription, events, transcriptionEvent, whole } from './answer.ts'
import { askedInPieces, isTimed, pieces, readSpoken } from './read.ts'
import { type SpokenRequest, transcriptionRequest, translationRequest } from './schema.ts'

const spoken = {
  tag: 'OpenAI',
  takes: 'form' as const,
  answer: anyTranscription,
  otherType: 'text/plain',
  event: transcriptionEvent,
  events,
  framing: dataFraming,
  expand,
}

export const transcriptionEndpoints = [
  answerEndpoint({
    ...spoken,
    path: '/audio/transcriptions',
    summary: 'Write down what is said',
    body: transcriptionRequest,
    read: (body, context) => [readSpoken('transcribe', body, context)],
    whole: whole('transcribe'),
  }),
  answerEndpoint({
    ...spoken,
    path: '/audio/translations',
    summary: 'Write down in English what is said',
    body: translationRequest,
    read: (body, context) => [readSpoken('translate', body, context)],
    whole: whole('translate'),
  }),
]

/** With times, each piece of the recording is a request: where it is cut is known, and nothing finer. @throws OrielError */
async function expand(body: SpokenRequest, { model, requests, signal }: Work) {
  const [request] = requests
  if (!isTimed(body) || request === undefined) return requests
  return withBackend(model, request, signal, async (backend) => {
    if (backend.cut === undefined) throw withoutTimes(body)
    return askedInPieces(request, await backend.cut(request, pieces, signal))
  })
}

const withoutTimes = ({ response_format: format }: SpokenRequest): OrielError =>
  new OrielError(
    'invalid',
    `response_format is "${format}", which has times, but the model does not cut audio into pieces. json and text have none.`,
    { param: 'response_format', code: 'times_not_known' },
  )
