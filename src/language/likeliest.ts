/** The token with the largest logit, the first of equal ones. */
export function likeliest(logits: Float32Array): number {
  let best = 0
  let most = logits[0] as number
  for (let id = 1; id < logits.length; id++) {
    const logit = logits[id] as number
    if (logit > most) {
      best = id
      most = logit
    }
  }
  return best
}

/** The tokens with the `count` largest logits, the largest first, and the first of equal ones. */
export function theLikeliest(logits: Float32Array, count: number): number[] {
  const best: number[] = []
  for (let id = 0; id < logits.length && count > 0; id++) {
    const logit = logits[id] as number
    if (best.length === count && logit <= (logits[best[count - 1] as number] as number)) continue
    let at = best.length
    while (at > 0 && logit > (logits[best[at - 1] as number] as number)) at--
    best.splice(at, 0, id)
    if (best.length > count) best.pop()
  }
  return best
}
