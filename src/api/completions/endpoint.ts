import { z } from 'zod'
import { answerEndpoint } from '../answer-route.ts'
import { dryRun, dryRunAnswer } from '../counting/answer.ts'
import { dataFraming } from '../sse.ts'
import { completion, completionChunks, textCompletion } from './answer.ts'
import { readCompletions } from './read.ts'
import { completionsRequest } from './schema.ts'

export const completionsEndpoint = answerEndpoint({
  path: '/completions',
  tag: 'OpenAI',
  summary: 'Complete a text, with an image in place of each <image>',
  body: completionsRequest,
  answer: z.union([textCompletion, dryRunAnswer]),
  event: textCompletion,
  read: readCompletions,
  whole: completion,
  events: completionChunks,
  framing: dataFraming,
  instead: dryRun,
})
