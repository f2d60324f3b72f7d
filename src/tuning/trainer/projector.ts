import { closeSync, openSync } from 'node:fs'
import path from 'node:path'
import { badModel, unsupportedModel } from '../../errors.ts'
import { headerOf, metadataOf } from '../../gguf/index.ts'
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
  const read = reading(ggml, file)
  if (read === undefined) throw badModel('The vision file is not a valid GGUF file.')
  try {
    const weights = read.floats(`${last.matrix}.weight`)
    if (weights === null) throw badModel(`The vision file has no ${last.matrix}.weight.`)
    const { values, rows } = weights
    return {
      ...last,
      ...{ inputs: values.length / rows, outputs: rows, weights: values },
      bias: read.floats(`${last.matrix}.bias`)?.values ?? new Float32Array(rows),
      pause: read.floats(pauseName)?.values ?? null,
    }
  } finally {
    read.close()
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

function reading(ggml: Ggml, file: string) {
  const opened = ggml.openGguf(file)
  if (opened === null) return undefined
  const { gguf, context } = opened
  const start = Number(ggml.dataOffset(gguf))
  const offsets = new Map<string, number>()
  for (let index = 0; index < ggml.tensorCount(gguf); index++)
    offsets.set(ggml.tensorName(gguf, index), start + Number(ggml.tensorOffset(gguf, index)))
  const descriptor = openSync(file, 'r')
  return {
    floats(name: string): { values: Float32Array; rows: number } | null {
      const [tensor, at] = [ggml.findTensor(context, name), offsets.get(name)]
      if (tensor === null || at === undefined) return null
      const raw = readAt(descriptor, new Uint8Array(ggml.tensorBytes(tensor)), at, () =>
        badModel(`The vision file is truncated: the tensor ${name} is incomplete.`),
      )
      return { values: ggml.convert(tensor, raw, Number(ggml.elementCount(tensor))), rows: ggml.outerCount(tensor) }
    },
    close(): void {
      closeSync(descriptor)
      ggml.freeGguf(gguf)
      ggml.free(context)
    },
  }
}
