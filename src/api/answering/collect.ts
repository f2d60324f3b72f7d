import { randomBytes } from 'node:crypto'
import type { AnswerToken, EndReason, Timings } from '../../deployments/index.ts'
import type { RunningAnswer } from './answer.ts'

/** One answer when it is over. */
export interface Choice {
  text: string
  reasoning: string
  calls: Call[]
  /** As the model wrote it. */
  raw: string
  tokens: AnswerToken[]
  reason: EndReason
  completionTokens: number
  reasoningTokens: number
}

interface Call {
  id: string
  name: string
  arguments: string
}

/** Clients name a call by this when they tell what it gave. */
export const newCallId = (): string => `call_${randomBytes(12).toString('hex')}`

/** Waits for the end of an answer. */
export async function collect({
  choices,
  events,
}: RunningAnswer): Promise<{ choices: Choice[]; timings: Timings | undefined }> {
  const collected = Array.from(
    { length: choices },
    (): Choice => ({
      text: '',
      reasoning: '',
      calls: [],
      raw: '',
      tokens: [],
      reason: 'stop',
      completionTokens: 0,
      reasoningTokens: 0,
    }),
  )
  let timings: Timings | undefined
  for await (const event of events) {
    if (event.type === 'done') {
      timings = event.tally.timings
      continue
    }
    const choice = collected[event.choice]
    if (choice === undefined) continue
    if (event.type === 'end') {
      choice.reason = event.reason
      choice.completionTokens = event.completionTokens
      choice.reasoningTokens = event.reasoningTokens
      continue
    }
    choice.raw += event.raw
    choice.tokens.push(...event.tokens)
    for (const piece of event.pieces) {
      if (piece.kind === 'text') choice.text += piece.text
      else if (piece.kind === 'reasoning') choice.reasoning += piece.text
      else if (piece.kind === 'call') choice.calls.push({ id: newCallId(), name: piece.name, arguments: '' })
      else {
        const call = choice.calls[piece.call]
        if (call !== undefined) call.arguments += piece.text
      }
    }
  }
  return { choices: collected, timings }
}
