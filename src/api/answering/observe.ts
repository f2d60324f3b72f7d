import type { AnswerEvent, MediaTimings, PromptUsage, Tally } from '../../deployments/index.ts'
import type { RunningAnswer } from './answer.ts'

/** What an answer took, reported when it is complete. */
export interface AnswerAccount {
  /** The model's own name, whatever the request calls it. */
  model: string
  usage: PromptUsage
  completionTokens: number
  timings: Tally['timings'] & MediaTimings
}

/** The same answer; `report` is called when it is complete. */
export function observed(answer: RunningAnswer, report: (account: AnswerAccount) => void): RunningAnswer {
  return { ...answer, events: passed(answer, report) }
}

async function* passed(
  { events, servedBy: model, usage, media }: RunningAnswer,
  report: (account: AnswerAccount) => void,
): AsyncIterable<AnswerEvent> {
  for await (const event of events) {
    if (event.type === 'done') {
      const { completionTokens, timings } = event.tally
      report({ model, usage, completionTokens, timings: { ...media, ...timings } })
    }
    yield event
  }
}
