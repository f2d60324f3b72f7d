import { OrielError } from '../errors.ts'

/**
 * Works on all items in parallel. When one fails, the items after it are stopped and the items before it are awaited, so
 * that the error is always that of the first failing item, whichever fails earliest.
 */
export async function inOrder<Item, Result>(
  items: readonly Item[],
  signal: AbortSignal,
  work: (item: Item, stop: AbortSignal) => Promise<Result>,
): Promise<Result[]> {
  const stops = items.map(() => new AbortController())
  const results = await Promise.allSettled(
    items.map(async (item, index) => {
      try {
        return await work(item, AbortSignal.any([signal, stops[index]?.signal ?? signal]))
      } catch (error) {
        for (const later of stops.slice(index + 1)) later.abort()
        throw error
      }
    }),
  )
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
}

/** An error in the words of a request. One of another part of the request says so. */
export const about =
  (param: string) =>
  (error: unknown): never => {
    throw error instanceof OrielError && error.param === undefined ? error.at(param) : error
  }
