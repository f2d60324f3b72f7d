import type { Answer } from './conversation.ts'

/** The answers that arrive in this window, by id. */
const running = new Map<string, AbortController>()

/** @returns a signal that aborts when the answer is stopped */
export function begin({ id }: Answer): AbortSignal {
  const controller = new AbortController()
  running.set(id, controller)
  return controller.signal
}

export const end = ({ id }: Answer): boolean => running.delete(id)

export const arrivesHere = ({ id }: Answer): boolean => running.has(id)

export const stop = ({ id }: Answer): void => running.get(id)?.abort()
