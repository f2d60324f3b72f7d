import type { AnswerEvent, AnswerToken, EndReason, Grounding, Tally } from './backend.ts'

/** One choice of an answer, as far as it has come. */
export interface Choice {
  /** Without the thoughts and the calls. */
  text: string
  reasoning: string
  calls: { name: string /** JSON. */; arguments: string }[]
  /** As the model wrote it. */
  raw: string
  tokens: AnswerToken[]
  reason: EndReason
  completionTokens: number
  reasoningTokens: number
  grounding?: Grounding
}

/** Whether an answer was cut off, so that its last part may not be whole. */
export const isCutOff = (reason: EndReason): boolean => reason === 'length' || reason === 'content_filter'

/** Collects the events of an answer. */
export class Collected {
  readonly choices: readonly Choice[]
  /** Of a complete answer. */
  tally: Tally | undefined

  constructor(choices: number) {
    this.choices = Array.from({ length: choices }, () => ({
      ...{ text: '', reasoning: '', calls: [], raw: '', tokens: [] },
      ...{ reason: 'stop', completionTokens: 0, reasoningTokens: 0 },
    }))
  }

  take(event: AnswerEvent): void {
    if (event.type === 'done') {
      this.tally = event.tally
      return
    }
    const choice = this.choices[event.choice]
    if (choice === undefined) return
    if (event.type === 'end') {
      const { reason, completionTokens, reasoningTokens, grounding } = event
      Object.assign(choice, { reason, completionTokens, reasoningTokens, ...(grounding && { grounding }) })
      return
    }
    choice.raw += event.raw
    choice.tokens.push(...event.tokens)
    for (const piece of event.pieces) {
      if (piece.kind === 'text') choice.text += piece.text
      else if (piece.kind === 'reasoning') choice.reasoning += piece.text
      else if (piece.kind === 'call') choice.calls.push({ name: piece.name, arguments: '' })
      else {
        const call = choice.calls[piece.call]
        if (call !== undefined) call.arguments += piece.text
      }
    }
  }
}
