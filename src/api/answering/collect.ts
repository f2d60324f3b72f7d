import { randomBytes } from 'node:crypto'
import { type AnswerPart, type Choice, Collected, type Tally } from '../../deployments/index.ts'
import { parseJson } from '../../json.ts'
import type { RunningAnswer } from './answer.ts'
import { returnedWhole } from './returned-whole.ts'

/** Clients name a call by this id when they send its result. */
export const newCallId = (): string => `call_${randomBytes(12).toString('hex')}`

/** The arguments of a call as an object; null for those of a call that was cut off, which are no JSON. Some write none as `null`. */
export function argumentsOf(text: string): Record<string, unknown> | null {
  const found = parseJson(text)
  if (found === null) return {}
  return typeof found === 'object' && !Array.isArray(found) ? { ...found } : null
}

/**
 * @param each called with each part as it comes
 * @throws OrielError as `returnedWhole`
 */
export async function collect(
  answer: RunningAnswer,
  each: (part: AnswerPart) => void = () => {},
): Promise<{ choices: readonly Choice[]; tally: Tally }> {
  const collected = new Collected(answer.choices)
  for await (const event of returnedWhole(answer.events)) {
    collected.take(event)
    if (event.type === 'part') each(event)
  }
  const { choices, tally } = collected
  if (tally === undefined) throw new Error('an answer without an end')
  return { choices, tally }
}
