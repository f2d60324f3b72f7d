/** The most that a misspelt word may differ from the one that was meant: a third of its letters. */
const tolerance = 1 / 3

/** The word that a misspelt one was probably meant to be, in any case; undefined if none is near. */
export function nearest(word: string, words: Iterable<string>): string | undefined {
  let best: string | undefined
  let least = Math.max(1, Math.floor(word.length * tolerance)) + 1
  for (const candidate of words) {
    const distance = distanceOf(word.toLowerCase(), candidate.toLowerCase())
    if (distance < least) [best, least] = [candidate, distance]
  }
  return best
}

/** Letters to insert, remove, replace or swap with their neighbour until one word is the other. */
function distanceOf(a: string, b: string): number {
  let [before, last] = [[] as number[], Array.from({ length: b.length + 1 }, (_, at) => at)]
  for (let row = 1; row <= a.length; row++) {
    const next = [row]
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1]
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      const costs = [
        (last[column] ?? 0) + 1,
        (next[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
        swapped ? (before[column - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      ]
      next.push(Math.min(...costs))
    }
    ;[before, last] = [last, next]
  }
  return last[b.length] ?? 0
}
