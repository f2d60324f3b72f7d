import { badModel } from '../../errors.ts'
import type { Sequence } from '../sequence.ts'
import type { Architecture } from './architecture.ts'
import type { BaseWeights } from './base-weights.ts'
import { type Projector, productsOf } from './projector.ts'
import type { AttentionPart } from './tape.ts'

/** Sequences side by side, which do not see each other, as the inputs of one graph. */
export interface Run {
  /** With padding. */
  readonly cells: number
  /** `[width, cells]` */
  readonly embeddings: Float32Array
  /** `[width, cells]`: what the projector's last matrix has made of images, and 0 elsewhere; null: it is not trained. */
  readonly products: Float32Array | null
  /** For each deepstack layer `[width, cells]`. */
  readonly deepstack: readonly Float32Array[]
  /** `[cells, axes]`: all of the first axis come first. */
  readonly positions: Int32Array
  readonly parts: readonly AttentionPart[]
  /** For each part `[keys, count]`: 0 where a cell is seen, and minus infinity elsewhere. */
  readonly masks: readonly Float32Array[]
  /** The cells that predict, and the tokens that they should predict. */
  readonly rows: Int32Array
  readonly tokens: Int32Array
}

/** Products over cells are fast over whole vectors. */
const wholeCells = 16

export const paddedCells = (cells: number): number => Math.ceil(cells / wholeCells) * wholeCells

/** Queries of a part of attention: fewer multiply less with what they do not see, and more are faster. */
const queries = { least: 128, parts: 8 }

/**
 * How attention is cut.
 * @param starts `[cells]`: the first cell of the sequence of each; cells are padded
 */
export function attentionParts(starts: Int32Array): AttentionPart[] {
  const cells = starts.length
  const most = Math.max(queries.least, paddedCells(cells / queries.parts))
  return Array.from({ length: Math.ceil(cells / most) }, (_, index) => {
    const from = index * most
    const count = Math.min(most, cells - from)
    const keysFrom = Math.floor((starts[from] ?? 0) / wholeCells) * wholeCells
    return { from, count, keysFrom, keys: from + count - keysFrom }
  })
}

/** @returns `[keys, count]` */
function maskOf({ from, count, keysFrom, keys }: AttentionPart, starts: Int32Array): Float32Array {
  const mask = new Float32Array(keys * count).fill(Number.NEGATIVE_INFINITY)
  for (let query = 0; query < count; query++) {
    // A cell sees those of its own sequence before it, and itself.
    const row = query * keys - keysFrom
    mask.fill(0, row + (starts[from + query] ?? 0), row + from + query + 1)
  }
  return mask
}

/** @throws OrielError `invalid` if a sequence is not one of this model */
export function joinedRun(
  sequences: readonly Sequence[],
  { width, axes, deepstack }: Architecture,
  weights: Pick<BaseWeights, 'embed'>,
  projector: Projector | null = null,
): Run {
  const used = sequences.reduce((sum, { tokens }) => sum + tokens.length, 0)
  const cells = paddedCells(used)
  const embeddings = new Float32Array(width * cells)
  const products = projector === null ? null : new Float32Array(width * cells)
  const stacked = Array.from({ length: deepstack }, () => new Float32Array(width * cells))
  const positions = new Int32Array(axes * cells)
  // Padding is a sequence of its own for each cell: a softmax over nothing is not a number.
  const starts = Int32Array.from({ length: cells }, (_, cell) => cell)
  const rows: number[] = []
  const targets: number[] = []
  let start = 0
  for (const { tokens, positions: own, learned, spans } of sequences) {
    const count = tokens.length
    if (own.length !== axes * count)
      throw badModel(`An example has ${own.length / count} positions for each cell; the model takes ${axes}.`)
    for (let axis = 0; axis < axes; axis++)
      positions.set(own.subarray(axis * count, (axis + 1) * count), axis * cells + start)
    for (const [cell, token] of tokens.entries()) {
      const at = (start + cell) * width
      if (token >= 0) weights.embed(token, embeddings.subarray(at, at + width))
      starts[start + cell] = start
      if (cell > 0 && learned[cell] === 1) {
        rows.push(start + cell - 1)
        targets.push(token)
      }
    }
    for (const span of spans) {
      place(span, start, width, embeddings, stacked)
      if (projector === null || products === null) continue
      const at = (start + span.start) * width
      const end = at + span.rows.length / (1 + deepstack)
      productsOf(embeddings.subarray(at, end), projector, products.subarray(at, end))
    }
    start += count
  }
  const parts = attentionParts(starts)
  return {
    ...{ cells, embeddings, products, deepstack: stacked, positions, parts },
    masks: parts.map((part) => maskOf(part, starts)),
    rows: Int32Array.from(rows),
    tokens: Int32Array.from(targets),
  }
}

/** Writes the rows of a span: first the embedding, and behind it what deepstack layers take. */
function place(
  { start: first, rows }: Sequence['spans'][number],
  start: number,
  width: number,
  embeddings: Float32Array,
  stacked: readonly Float32Array[],
): void {
  const wide = width * (1 + stacked.length)
  if (rows.length % wide !== 0)
    throw badModel(`Rows of an attachment do not have the ${wide} numbers that the model takes.`)
  for (let row = 0; row < rows.length / wide; row++)
    for (const [part, into] of [embeddings, ...stacked].entries()) {
      const from = row * wide + part * width
      into.set(rows.subarray(from, from + width), (start + first + row) * width)
    }
}
