import { badModel } from '../../errors.ts'
import type { Sequence } from '../sequence.ts'
import type { Architecture } from './architecture.ts'
import type { BaseWeights } from './base-weights.ts'

/** Sequences side by side, which do not see each other, as the inputs of one graph. */
export interface Run {
  /** With padding. */
  readonly cells: number
  /** `[width, cells]` */
  readonly embeddings: Float32Array
  /** For each deepstack layer `[width, cells]`. */
  readonly deepstack: readonly Float32Array[]
  /** `[cells, axes]`: all of the first axis come first. */
  readonly positions: Int32Array
  /** `[cells, cells]` */
  readonly mask: Float32Array
  /** The cells that predict, and the tokens that they should predict. */
  readonly rows: Int32Array
  readonly tokens: Int32Array
}

/** Products over cells are fast over whole vectors. */
const wholeCells = 16

export const paddedCells = (cells: number): number => Math.ceil(cells / wholeCells) * wholeCells

/** @throws OrielError `invalid` if a sequence is not one of this model */
export function joinedRun(
  sequences: readonly Sequence[],
  { width, axes, deepstack }: Architecture,
  weights: Pick<BaseWeights, 'embed'>,
): Run {
  const used = sequences.reduce((sum, { tokens }) => sum + tokens.length, 0)
  const cells = paddedCells(used)
  const embeddings = new Float32Array(width * cells)
  const stacked = Array.from({ length: deepstack }, () => new Float32Array(width * cells))
  const positions = new Int32Array(axes * cells)
  const mask = new Float32Array(cells * cells).fill(Number.NEGATIVE_INFINITY)
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
      // A cell sees those of its own sequence before it, and itself.
      mask.fill(0, (start + cell) * cells + start, (start + cell) * cells + start + cell + 1)
      if (cell > 0 && learned[cell] === 1) {
        rows.push(start + cell - 1)
        targets.push(token)
      }
    }
    for (const span of spans) place(span, start, width, embeddings, stacked)
    start += count
  }
  // Padding sees itself: a softmax over nothing is not a number.
  for (let cell = used; cell < cells; cell++) mask[cell * cells + cell] = 0
  return {
    ...{ cells, embeddings, deepstack: stacked, positions, mask },
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
