import { randomNumbers } from '../../random.ts'

/** What a step of the optimizer is made from. */
export interface PlannedStep {
  /** Indices of sequences. */
  readonly sequences: readonly number[]
  /** Epochs that are done after it. */
  readonly epoch: number
}

export interface StepLimits {
  readonly epochs: number
  /** Sequences of a step, at most. */
  readonly batchExamples: number
  /** Cells of a step, at most; null: any number. A longer sequence is a step by itself. */
  readonly batchTokens: number | null
  readonly seed: number
}

/**
 * All steps in order. Each epoch has every sequence once, in an order of its own that follows from the seed; of a last epoch
 * that is not whole it has the first ones.
 * @param lengths `[sequences]`: cells of each
 */
export function plannedSteps(
  lengths: Int32Array,
  { epochs, batchExamples, batchTokens, seed }: StepLimits,
): PlannedStep[] {
  const steps: PlannedStep[] = []
  const count = lengths.length
  const all = Math.max(1, Math.round(epochs * count))
  for (let epoch = 0; epoch * count < all; epoch++) {
    const order = shuffled(count, seed + epoch).slice(0, all - epoch * count)
    let done = 0
    let step: number[] = []
    let cells = 0
    const end = (): void => {
      if (step.length === 0) return
      done += step.length
      steps.push({ sequences: step, epoch: epoch + done / count })
      step = []
      cells = 0
    }
    for (const index of order) {
      const length = lengths[index] ?? 0
      const isFull = step.length === batchExamples || (batchTokens !== null && cells + length > batchTokens)
      if (isFull) end()
      step.push(index)
      cells += length
    }
    end()
  }
  return steps
}

/** `0 … count - 1` in an order that follows from the seed (Fisher and Yates). */
function shuffled(count: number, seed: number): number[] {
  const random = randomNumbers(seed)
  const order = Array.from({ length: count }, (_, index) => index)
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    const [a = 0, b = 0] = [order[last], order[other]]
    order[last] = b
    order[other] = a
  }
  return order
}

/**
 * Sequences that are computed together, of not more cells than `most` but for one that is longer by itself. Those of similar
 * length come together: the products of attention grow with the square of the cells.
 */
export function joined(sequences: readonly number[], lengths: Int32Array, most: number): number[][] {
  const runs: number[][] = []
  let cells = Number.POSITIVE_INFINITY
  for (const index of sequences.toSorted((a, b) => (lengths[b] ?? 0) - (lengths[a] ?? 0) || a - b)) {
    const length = lengths[index] ?? 0
    const last = runs.at(-1)
    if (last === undefined || cells + length > most) {
      runs.push([index])
      cells = length
    } else {
      last.push(index)
      cells += length
    }
  }
  return runs
}

/**
 * Rises to its highest in the warm-up, and falls to 0 as half a cosine.
 * @param step counted from 1, of `steps`
 */
export function learningRateOf(
  step: number,
  { steps, warmupSteps, learningRate }: { steps: number; warmupSteps: number; learningRate: number },
): number {
  if (step <= warmupSteps) return (learningRate * step) / warmupSteps
  const share = (step - 1 - warmupSteps) / Math.max(1, steps - warmupSteps)
  return (learningRate * (1 + Math.cos(Math.PI * share))) / 2
}
