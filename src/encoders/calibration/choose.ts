import { type Form, forms, weightBytes } from '../graph/products.ts'

export interface Errors {
  readonly activations: number
  readonly weights: number
  readonly both: number
}

/** A matrix of the layers, and what was measured about it. Errors are squares of shares of the embeddings. */
export interface MeasuredMatrix {
  readonly name: string
  /** Numbers in it. */
  readonly weights: number
  /** What rounding its activations, its weights, and both together adds to the error. */
  readonly errors: Errors
  /** The time of its product in each form, in ms. */
  readonly ms: Readonly<Record<Form, number>>
}

/** The error that a form leaves. */
function errorIn(form: Form, { errors: { activations, weights, both } }: MeasuredMatrix): number {
  return { int8: activations + weights + both, int8x2: weights + both, int8x3: both, fp32: 0 }[form]
}

/** The error of the whole encoder: roundings are independent of each other, so their squares add up. */
export const errorOf = (matrices: readonly MeasuredMatrix[], chosen: ReadonlyMap<string, Form>): number =>
  matrices.reduce((sum, matrix) => sum + errorIn(chosen.get(matrix.name) ?? 'fp32', matrix), 0)

export const msOf = (matrices: readonly MeasuredMatrix[], formOf: (name: string) => Form): number =>
  matrices.reduce((sum, { name, ms }) => sum + ms[formOf(name)], 0)

/**
 * Chooses a form for each matrix. If the error is not small enough within the bytes, `fp32` is not taken: what it takes more
 * than others is better spent on matrices that are not exact at all.
 * @param most error that is small enough
 * @param mostBytes of all of them. Beyond it the error may stay larger
 */
export function choose(
  matrices: readonly MeasuredMatrix[],
  most: number,
  mostBytes: number,
): ReadonlyMap<string, Form> {
  const chosen = chooseAmong(forms, matrices, most, mostBytes)
  if (errorOf(matrices, chosen) <= most) return chosen
  const smaller = forms.filter((form) => form !== 'fp32')
  const others = chooseAmong(smaller, matrices, most, mostBytes)
  return errorOf(matrices, others) < errorOf(matrices, chosen) ? others : chosen
}

/**
 * All begin with the smallest form, and change to what is faster and no less exact. Then the
 * one that removes most error for each ms that it adds changes, until the error is small enough.
 */
function chooseAmong(
  allowed: readonly Form[],
  matrices: readonly MeasuredMatrix[],
  most: number,
  mostBytes: number,
): ReadonlyMap<string, Form> {
  const chosen = new Map<string, Form>(matrices.map(({ name }) => [name, 'int8']))
  let bytes = matrices.reduce((sum, matrix) => sum + bytesIn('int8', matrix), 0)
  for (;;) {
    const isEnough = errorOf(matrices, chosen) <= most
    const [best] = matrices
      .flatMap((matrix) => changesOf(matrix, chosen.get(matrix.name) ?? 'int8', allowed))
      .filter((change) => bytes + change.bytes <= mostBytes && (change.isFaster || !isEnough))
      .sort((a, b) => b.worth - a.worth)
    if (best === undefined) return chosen
    chosen.set(best.name, best.form)
    bytes += best.bytes
  }
}

const bytesIn = (form: Form, { weights }: MeasuredMatrix): number => weights * weightBytes[form]

/** The forms that a matrix could change to: faster or more exact ones. */
function changesOf(matrix: MeasuredMatrix, from: Form, allowed: readonly Form[]) {
  return allowed.flatMap((form) => {
    const removed = errorIn(from, matrix) - errorIn(form, matrix)
    const added = matrix.ms[form] - matrix.ms[from]
    const isFaster = added < 0
    if (removed < 0 || (removed === 0 && !isFaster)) return []
    const bytes = bytesIn(form, matrix) - bytesIn(from, matrix)
    const worth = isFaster ? Number.POSITIVE_INFINITY : removed / Math.max(added, Number.MIN_VALUE)
    return [{ name: matrix.name, form, bytes, isFaster, worth }]
  })
}
