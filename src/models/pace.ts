/** The span over which the pace is measured, and the least span, in ms. */
const window = { most: 8000, least: 500 }
/** The least time between two samples, in ms. */
const sampling = 100

/** How fast a transfer goes, by its last seconds. */
export class Pace {
  readonly #samples: { at: number; done: number }[] = []

  /** @param done bytes so far: fewer than before if it has begun again */
  add(done: number): void {
    const now = performance.now()
    const last = this.#samples.at(-1)
    if (last === undefined || now - last.at > sampling || done < last.done) this.#samples.push({ at: now, done })
    while ((this.#samples[0]?.at ?? now) < now - window.most) this.#samples.shift()
  }

  /** Bytes a second until now; undefined while it is not known. @param done bytes so far */
  of(done: number): number | undefined {
    const now = performance.now()
    const first = this.#samples[0]
    if (first === undefined || now - first.at < window.least || done <= first.done) return undefined
    return ((done - first.done) / (now - first.at)) * 1000
  }
}
