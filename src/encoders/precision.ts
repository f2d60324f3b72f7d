import type { Choice } from './calibration/kept.ts'
import type { Form } from './graph/products.ts'

/**
 * How ONNX Runtime computes. `fp32` is exact, `int8` rounds all matrices of the layers. With `auto` each of them has the form
 * that was chosen for it on this machine; until then all have a form that is safe for every model. Small encoders are exact.
 */
export type Precision = 'auto' | 'fp32' | 'int8'

/**
 * Its error is small whatever the numbers are. In models that people use, some channels are twenty times as large as the
 * others, and `int8` alone gives the others too few steps.
 */
const safeForm: Form = 'int8x2'

/** Below this number of weights in its layers an encoder takes some ms, and nobody notices if it takes half of them. */
const fewWeights = 16e6

/** Bytes of a weight of the layers, on average, that a choice does not exceed if its error is small enough then. */
export const usualBytes = 1.5

/** Whether forms are chosen for an encoder. @param inLayers weights of its layers */
export const isChosen = (precision: Precision, inLayers: number): boolean =>
  precision === 'auto' && inLayers >= fewWeights

/** @param choice the one for this encoder, if there is one */
export function formsFor(precision: Precision, inLayers: number, choice?: Choice): (weight: string) => Form {
  if (choice !== undefined) return (weight) => choice.forms[weight] ?? safeForm
  if (isChosen(precision, inLayers)) return () => safeForm
  return () => (precision === 'int8' ? 'int8' : 'fp32')
}

/**
 * The most that the weights take in memory, in bytes; those of the layers take a third more if their error asks for it.
 * @param weights all, and those of the layers, which may be rounded
 */
export function weightsBytes(precision: Precision, { all, inLayers }: { all: number; inLayers: number }): number {
  const each = isChosen(precision, inLayers) ? usualBytes : precision === 'int8' ? 1 : 4
  return Math.ceil(inLayers * each + (all - inLayers) * 4)
}
