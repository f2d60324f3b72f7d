import { randomBytes } from 'node:crypto'
import { type Choice, Collected, type Timings } from '../../deployments/index.ts'
import type { RunningAnswer } from './answer.ts'

/** Clients name a call by this id when they send its result. */
export const newCallId = (): string => `call_${randomBytes(12).toString('hex')}`

export async function collect({
  choices,
  events,
}: RunningAnswer): Promise<{ choices: readonly Choice[]; timings: Timings | undefined }> {
  const collected = new Collected(choices)
  for await (const event of events) collected.take(event)
  return { choices: collected.choices, timings: collected.tally?.timings }
}
