/** From 0 to 1. */
export type Random = () => number

/** Numbers that look random, the same for equal seeds. The generator is Lehmer's. */
export function randomNumbers(seed: number): Random {
  let state = seed
  return () => {
    state = (state * 48271) % 2147483647
    return state / 2147483647
  }
}
