import type { AnswerEvent } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'

/** Tokens, alternatives included, of an answer that is returned whole: each takes about 100 bytes until it is sent. */
const mostTokens = 1_000_000

/**
 * The events of an answer that is kept until it is complete. Tokens come only if the request wants them.
 * @throws OrielError `invalid` for an answer that has too many, and whatever the answer fails with
 */
export async function* returnedWhole(events: AsyncIterable<AnswerEvent>): AsyncIterable<AnswerEvent> {
  let tokens = 0
  for await (const event of events) {
    if (event.type === 'part') tokens += event.tokens.reduce((sum, { top }) => sum + 1 + top.length, 0)
    if (tokens > mostTokens) throw tooLarge()
    yield event
  }
}

const tooLarge = (): OrielError =>
  new OrielError(
    'invalid',
    `The answer has more than ${mostTokens.toLocaleString('en')} tokens, alternatives included: that is the limit for an answer that is not streamed. Stream it, or ask for fewer prompts, answers or alternatives.`,
    { code: 'answer_too_large' },
  )
