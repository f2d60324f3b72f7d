import { within } from '../../within.ts'

/**
 * How long a request waits for the check of a file, in ms. Clients wait a minute for an answer, and gigabytes take longer: the
 * check goes on, and what comes of it is read later.
 */
const patienceMs = 30_000

/** Waits for a check, but not for long. @returns undefined if it goes on @throws OrielError why the file cannot be used */
export function checkedSoon<T>(check: Promise<T>): Promise<T | undefined> {
  check.catch(() => {})
  return within(patienceMs, check)
}
