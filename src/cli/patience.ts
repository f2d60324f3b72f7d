import { setTimeout as pause } from 'node:timers/promises'
import { type ErrorKind, OrielError } from '../errors.ts'

/** Of a server that computes on all cores or starts anew, and of a proxy that does not reach it. */
const passing: readonly ErrorKind[] = ['timeout', 'overloaded', 'internal']

/** Whether the same question may be answered a little later. */
export const isPassing = (error: unknown): error is OrielError =>
  error instanceof OrielError && passing.includes(error.kind)

/**
 * Asks again while a server does not answer, for about a minute: what it works on is not lost by one question.
 * @throws OrielError what it answers, or what was wrong last
 */
export async function patiently<T>(
  ask: () => Promise<T>,
  { waitMs = 60_000, pauseMs = 1000 }: { waitMs?: number; pauseMs?: number } = {},
): Promise<T> {
  for (const began = performance.now(); ; await pause(pauseMs)) {
    try {
      return await ask()
    } catch (error) {
      if (!isPassing(error) || performance.now() - began >= waitMs) throw error
    }
  }
}
