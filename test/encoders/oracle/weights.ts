import type { TensorPlan } from '../../support/gguf-file.ts'
import { numbers } from './tower.ts'

/** Small enough that values keep their magnitude from layer to layer. */
export const matrix = (name: string, inputs: number, outputs: number): TensorPlan => ({
  name,
  shape: [inputs, outputs],
  fill: numbers(1 / Math.sqrt(inputs)),
})

/** Around 0. */
export const bias = (name: string, width: number): TensorPlan => ({ name, shape: [width], fill: { exact: 0.1 } })

export const ones = (name: string, width: number): TensorPlan => ({ name, shape: [width], fill: { constant: 1 } })

/** `name.weight` and `name.bias` of a matrix. */
export const linear = (name: string, inputs: number, outputs: number): TensorPlan[] => [
  matrix(`${name}.weight`, inputs, outputs),
  bias(`${name}.bias`, outputs),
]

/** `name.weight` and `name.bias` of a layer norm. */
export const norm = (name: string, width: number): TensorPlan[] => [
  ones(`${name}.weight`, width),
  bias(`${name}.bias`, width),
]

/** A convolution over patches. */
export const patches = (name: string, patch: number, width: number): TensorPlan => ({
  name,
  shape: [patch, patch, 3, width],
  fill: numbers(0.05),
})

export const each = (layers: number, of: (layer: number) => TensorPlan[]): TensorPlan[] =>
  Array.from({ length: layers }, (_, layer) => of(layer)).flat()
