import { cancelled } from './errors.ts'

/**
 * Calls `act` when the signal aborts, at once if it already has. It is called at most once.
 * @returns a function that removes the listener; a long-lived signal keeps every listener that is not removed
 */
export function onAbort(signal: AbortSignal, act: () => void): () => void {
  if (signal.aborted) {
    act()
    return () => {}
  }
  const listener = (): void => act()
  signal.addEventListener('abort', listener, { once: true })
  return () => signal.removeEventListener('abort', listener)
}

/**
 * Waits for `work`, but no longer than until the signal aborts. The work itself is not stopped; a later failure of it is
 * ignored.
 * @param why makes the error of an aborted wait
 * @throws OrielError `cancelled`, or what `why` returns, when the signal aborts first
 */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal, why: () => unknown = cancelled): Promise<T> {
  let removeListener = (): void => {}
  const aborted = new Promise<never>((_, reject) => {
    removeListener = onAbort(signal, () => reject(why()))
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    removeListener()
  }
}
