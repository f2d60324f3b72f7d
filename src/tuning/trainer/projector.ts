import { closeSync, openSync } from 'node:fs'
import path from 'node:path'
import { badModel, unsupportedModel } from '../../errors.ts'
import { headerOf, metadataOf, typeNumber } from '../../gguf/index.ts'
import { lastOfProjector } from '../../models/index.ts'
import type { Ggml } from '../../native/index.ts'
import { readAt } from '../../read-at.ts'

/**
 * The last matrix of a projector, which makes the embeddings of images: `e = W h + bias`. LoRA on it can be trained without
 * what goes into it: `(W + B A W) h + bias = e + B A (e - bias)`. So images that were encoded once are not encoded again, and
 * the first matrix that is written is `A W`.
 */
export interface Projector {
  /** In transformers, and in the vision file. */
  readonly module: string
  readonly matrix: string
  readonly inputs: number
  /** The width of the decoder. */
  readonly outputs: number
  /** `[outputs, inputs]` */
  readonly weights: Float32Array
  /** `[outputs]` */
  readonly bias: Float32Array
  /** `[outputs]`: what stands between rows of an image, and is no product of the matrix; null: nothing does. */
  readonly pause: Float32Array | null
}

const pauseName = 'v.token_embd.img_break'

/** Which matrix it would be. @throws OrielError `invalid` if the projector cannot be trained */
export async function projectorOf(file: string | null): Promise<{ module: string; matrix: string }> {
  const last = file === null ? undefined : lastOfProjector(metadataOf(await headerOf(file), path.basename(file)))
  if (last !== undefined) return last
  throw unsupportedModel(
    file === null
      ? 'The model takes no images, so it has no projector to train.'
      : 'The projector of this model cannot be trained by the built-in trainer. The decoder can, and an external trainer may train both.',
  )
}

/** @param file the vision file @throws OrielError `invalid` if the projector cannot be trained */
export async function openProjector(ggml: Ggml, file: string): Promise<Projector> {
  const last = await projectorOf(file)
  const { tensors } = await headerOf(file)
  const descriptor = openSync(file, 'r')
  const matrixOf = (name: string): { values: Float32Array; columns: number } | null => {
    const tensor = tensors.find((tensor) => tensor.name === name)
    if (tensor === undefined) return null
    const [columns = 1, ...others] = tensor.shape
    const raw = readAt(descriptor, new Uint8Array(tensor.bytes), tensor.at, () =>
      badModel(`The vision file is truncated: the tensor ${name} is incomplete.`),
    )
    const count = others.reduce((product, size) => product * size, columns)
    return { values: ggml.floatsOf(typeNumber(tensor.type), raw, count), columns }
  }
  try {
    const weights = matrixOf(`${last.matrix}.weight`)
    if (weights === null) throw badModel(`The vision file has no ${last.matrix}.weight.`)
    const outputs = weights.values.length / weights.columns
    return {
      ...last,
      ...{ inputs: weights.columns, outputs, weights: weights.values },
      bias: matrixOf(`${last.matrix}.bias`)?.values ?? new Float32Array(outputs),
      pause: matrixOf(pauseName)?.values ?? null,
    }
  } finally {
    closeSync(descriptor)
  }
}

/** `[rows, width]` of embeddings, without the bias. Pauses become zeros. */
export function productsOf(rows: Float32Array, { outputs, bias, pause }: Projector, into: Float32Array): void {
  for (let at = 0; at < rows.length; at += outputs) {
    const row = rows.subarray(at, at + outputs)
    if (pause?.every((value, column) => value === row[column])) continue
    for (let column = 0; column < outputs; column++) into[at + column] = (row[column] ?? 0) - (bias[column] ?? 0)
  }
}

/** `[rank, outputs]` that was trained -> `[rank, inputs]` of the matrix itself. */
export function throughMatrix(a: Float32Array, { inputs, outputs, weights }: Projector): Float32Array {
  const rank = a.length / outputs
  const result = new Float32Array(rank * inputs)
  for (let part = 0; part < rank; part++) {
    const row = result.subarray(part * inputs, (part + 1) * inputs)
    for (let output = 0; output < outputs; output++) {
      const factor = a[part * outputs + output] ?? 0
      for (let input = 0; input < inputs; input++)
        row[input] = (row[input] ?? 0) + factor * (weights[output * inputs + input] ?? 0)
    }
  }
  return result
}
