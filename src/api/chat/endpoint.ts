import { z } from 'zod'
import { answerEndpoint } from '../answer-route.ts'
import { dryRun, dryRunAnswer } from '../counting/answer.ts'
import { dataFraming } from '../sse.ts'
import { chatChunk, chatCompletion, chunks, completion } from './answer.ts'
import { readChat } from './read.ts'
import { chatRequest } from './schema.ts'

export const chatEndpoint = answerEndpoint({
  path: '/chat/completions',
  tag: 'OpenAI',
  summary: 'Answer a chat with images',
  body: chatRequest,
  answer: z.union([chatCompletion, dryRunAnswer]),
  event: chatChunk,
  read: (body, context) => [readChat(body, context)],
  whole: completion,
  events: chunks,
  framing: dataFraming,
  instead: dryRun,
})
