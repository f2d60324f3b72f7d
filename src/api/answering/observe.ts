import type { Timings } from '../../deployments/index.ts'
import type { AnswerEvent, PromptUsage, RunningAnswer } from './answer.ts'
import type { MediaTimings } from './prepare.ts'

/** What an answer took, told when it is complete. */
export interface AnswerAccount {
  /** By its own name, whatever the request called it. */
  model: string
  usage: PromptUsage
  completionTokens: number
  timings: Timings & MediaTimings
}

/** The same answer, and somebody who is told when it is over. */
export function observed(answer: RunningAnswer, tell: (account: AnswerAccount) => void): RunningAnswer {
  return { ...answer, events: passed(answer, tell) }
}

async function* passed(
  { events, servedBy: model, usage, media }: RunningAnswer,
  tell: (account: AnswerAccount) => void,
): AsyncIterable<AnswerEvent> {
  let completionTokens = 0
  for await (const event of events) {
    if (event.type === 'end') completionTokens += event.completionTokens
    if (event.type === 'done') tell({ model, usage, completionTokens, timings: { ...media, ...event.timings } })
    yield event
  }
}
