/**
 * Work that many may ask for at once: it is done one time after the other, and whoever asks while it is done waits for the next
 * time, which is one for all of them. What they get has begun after they asked.
 */
export function joined<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined
  let next: Promise<T> | undefined
  const begin = (): Promise<T> => {
    const begun = work().finally(() => {
      if (running === begun) running = undefined
    })
    running = begun
    return begun
  }
  const again = (): Promise<T> => {
    next = undefined
    return begin()
  }
  return () => {
    // Has not begun.
    if (next !== undefined) return next
    if (running === undefined) return begin()
    next = running.then(again, again)
    return next
  }
}
