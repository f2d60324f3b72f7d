/**
 * The times of frames at equal distances: `perSecond`, or as many as there may be.
 * @param seconds the length of the span that begins at `start`
 * @returns at least one, in ascending order
 */
export function evenTimes(start: number, seconds: number, perSecond: number, most: number): number[] {
  // Not infinite, however few are wanted: no time would be a number then.
  const step = Math.min(Number.MAX_VALUE, Math.max(1 / perSecond, seconds / most))
  // A length such as 9.999 s, or a rounding error, makes no further frame.
  const count = Math.min(most, Math.max(1, Math.ceil(seconds / step - 0.05)))
  return Array.from({ length: count }, (_, index) => start + index * step)
}

/**
 * Chooses the frames before which the picture changes most, and the first one. Where nothing changes, they are spread evenly.
 * @param changes how much each frame differs from the one before it, from 0 to 1
 * @returns the indices of `count` frames, in ascending order
 */
export function atChanges(changes: readonly number[], count: number): number[] {
  const least = 0.08
  const cuts = changes
    .map((change, index) => ({ change: index === 0 ? Number.POSITIVE_INFINITY : change, index }))
    .filter(({ change }) => change >= least)
    .toSorted((a, b) => b.change - a.change)
    .slice(0, count)
  const chosen = new Set(cuts.map(({ index }) => index))
  // The rest halve the longest stretches without a chosen frame.
  while (chosen.size < Math.min(count, changes.length)) {
    const sorted = [...chosen, changes.length].toSorted((a, b) => a - b)
    let [longest, middle] = [0, 0]
    for (const [at, index] of sorted.slice(0, -1).entries()) {
      const next = sorted[at + 1] ?? index
      if (next - index > longest) [longest, middle] = [next - index, index + Math.floor((next - index) / 2)]
    }
    chosen.add(middle)
  }
  return [...chosen].toSorted((a, b) => a - b)
}
