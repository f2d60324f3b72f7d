/** Work that takes long and is done in slices of a few ms: others have their turn at each `yield`. */
export type Slices<Result> = Generator<void, Result, void>

/** The result of all slices, however long they take. */
export function finished<Result>(work: Slices<Result>): Result {
  for (;;) {
    const { done, value } = work.next()
    if (done) return value
  }
}
