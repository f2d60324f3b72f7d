import { type Form, packedBytes, weightBytes } from '../graph/products.ts'
import type { Half, Sample } from '../graph/source.ts'
import type { Trial, TrialMatrix } from '../graph/trial.ts'
import { usualBytes } from '../precision.ts'
import { choose, type Errors, errorOf, type MeasuredMatrix, msOf } from './choose.ts'
import type { ProductShape } from './costs.ts'
import type { Choice } from './kept.ts'

/** How much more error than ggml's is accepted. */
const tolerance = 1.5
/**
 * The error of ggml that counts if its own is smaller. It rounds activations to 8 bits in files of quantized weights, and has
 * this error in SmolVLM-256M's shape; with weights of 16 or 32 bits it is all but exact.
 */
const leastError = 0.0109
/** The largest error that is aimed at, whatever ggml's is. */
const mostError = 0.02
/** Groups of neighbouring layers whose matrices of a kind are tried together. */
const depths = 4
/** Bytes of packed weights that are a small price for speed. */
const mostPacked = 256e6
/** Choices within as many bytes, each of which is measured. */
const mostRounds = 5
/** Bytes of a weight, on average, that choices are made within, one after the other. At last all matrices can be exact. */
const bounds = [usualBytes, weightBytes.int8x3, weightBytes.fp32]

export interface CalibrationParts<Part> {
  half: Half<Part>
  /** ggml's embeddings. */
  inGgml(sample: Sample<Part>): Promise<Float32Array>
  openTrial(): Promise<Trial<Part>>
  /** The time of a product in each form, in ms. */
  costs(shape: ProductShape): Promise<Readonly<Record<Form, number>>>
  /** Called before each run. Resolves when the run may begin. */
  turn(): Promise<void>
}

/**
 * Chooses the form of each matrix of an encoder by measuring: what rounding each of them does to the embeddings, and how
 * long each form takes on this machine.
 */
export async function calibrate<Part>(parts: CalibrationParts<Part>): Promise<Choice> {
  const { half, inGgml, openTrial, costs, turn } = parts
  const [first, ...others] = [half.sample(1), half.sample(2), half.sample(3)] as const
  await turn()
  const ofGgml = await inGgml(first)
  await turn()
  const trial = await openTrial()

  /** The time of the fastest run: all compute the same, and other programs disturbed it least. */
  let ms = Number.POSITIVE_INFINITY
  /** Runs the trial with each matrix in a form. */
  const run = async (sample: Sample<Part>, formOf: (index: number) => Form) => {
    await turn()
    const terms = Float32Array.from(trial.matrices.flatMap((_, index) => termsOf[formOf(index)]))
    const start = performance.now()
    const ran = await trial.run(sample, terms)
    ms = Math.min(ms, performance.now() - start)
    return ran
  }

  const exact = await run(first, () => 'fp32')
  const ggml = distance(ofGgml, exact.embeddings)
  const aim = Math.min(tolerance * Math.max(ggml, leastError), mostError)
  const measured: MeasuredMatrix[] = []
  for (const group of groupsOf(trial.matrices)) {
    const rounded = await run(first, (index) => (group.has(index) ? 'int8' : 'fp32'))
    const errors = sharesOf(group, exact.left, distance(rounded.embeddings, exact.embeddings) ** 2)
    for (const [index, { name, x, rows: outputs, columns: inputs }] of trial.matrices.entries()) {
      const ofMatrix = errors.get(index)
      if (ofMatrix === undefined) continue
      await turn()
      const sharing = trial.matrices.filter((other) => other.x === x).length
      const times = await costs({ rows: exact.rows[index] ?? 0, inputs, outputs, sharing })
      measured.push({ name, weights: inputs * outputs, errors: ofMatrix, ms: times })
    }
  }

  const exactOfOthers: Float32Array[] = []
  for (const sample of others) exactOfOthers.push((await run(sample, () => 'fp32')).embeddings)
  const errorWith = async (chosen: ReadonlyMap<string, Form>): Promise<number> => {
    const errors: number[] = []
    for (const [at, sample] of others.entries()) {
      const found = await run(sample, (index) => chosen.get(trial.matrices[index]?.name ?? '') ?? 'fp32')
      errors.push(distance(found.embeddings, exactOfOthers[at] ?? found.embeddings))
    }
    return Math.max(...errors)
  }

  const { matrices, chosen, error } = await settle(measured, aim, errorWith)
  await trial.release()
  const formOf = (name: string): Form => chosen.get(name) ?? 'fp32'
  const bytesIn = (each: Readonly<Record<Form, number>>) =>
    matrices.reduce((sum, { name, weights }) => sum + weights * each[formOf(name)], 0)
  /** Attention, norms and what else is always in floats. The fourth product takes as long as the third. */
  const rest = Math.max(0, ms - 2 * msOf(matrices, () => 'int8x3') + msOf(matrices, () => 'int8x2'))
  return {
    forms: Object.fromEntries(chosen),
    error,
    aim,
    ggml,
    ratio: (rest + msOf(matrices, formOf)) / (rest + msOf(matrices, () => 'fp32')),
    bytes: bytesIn(weightBytes),
    packs: bytesIn(packedBytes) <= Math.min(mostPacked, usualBytes * weightsOf(matrices)),
  }
}

const weightsOf = (matrices: readonly MeasuredMatrix[]): number =>
  matrices.reduce((sum, { weights }) => sum + weights, 0)

/**
 * Chooses, measures the whole error, and chooses again with errors in proportion to it, until it is small enough. If the bytes
 * do not allow that, more are allowed, and at last every matrix is exact.
 */
async function settle(
  measured: readonly MeasuredMatrix[],
  aim: number,
  errorWith: (chosen: ReadonlyMap<string, Form>) => Promise<number>,
) {
  let matrices = measured
  for (const bytes of bounds)
    for (let round = 0; round < mostRounds; round++) {
      const chosen = choose(matrices, aim ** 2, bytes * weightsOf(measured))
      const expected = errorOf(matrices, chosen)
      const error = await errorWith(chosen)
      if (error <= aim) return { matrices, chosen, error }
      if (expected > aim ** 2) break
      const factor = error ** 2 / expected
      matrices = matrices.map(({ errors, ...matrix }) => ({ ...matrix, errors: scaled(errors, factor) }))
    }
  return { matrices, chosen: new Map(measured.map(({ name }): [string, Form] => [name, 'fp32'])), error: 0 }
}

const scaled = ({ activations, weights, both }: Errors, factor: number): Errors => ({
  activations: activations * factor,
  weights: weights * factor,
  both: both * factor,
})

/**
 * Divides the error of a group among its matrices.
 * @param left what rounding left of the activations, of the weights and of both of each matrix, as `Trial.run` gives it
 * @param error square
 */
function sharesOf(group: ReadonlySet<number>, left: Float32Array, error: number): ReadonlyMap<number, Errors> {
  const parts = (index: number): Errors => {
    const [activations = 0, weights = 0, both = 0] = left.subarray(3 * index, 3 * index + 3)
    return { activations, weights, both }
  }
  const all = [...group].map(parts).reduce((sum, part) => sum + part.activations + part.weights + part.both, 0) || 1
  return new Map([...group].map((index) => [index, scaled(parts(index), error / all)]))
}

/** Whether the second, the third and the fourth product take part. */
const termsOf: Readonly<Record<Form, readonly number[]>> = {
  int8: [0, 0, 0],
  int8x2: [1, 0, 0],
  int8x3: [1, 1, 0],
  fp32: [1, 1, 1],
}

/** Matrices of one kind in neighbouring layers, by their indices. */
function groupsOf(matrices: readonly TrialMatrix[]): ReadonlySet<number>[] {
  const kinds = new Map<string, number[]>()
  for (const [index, { name }] of matrices.entries()) {
    const kind = name.replace(/(\.\d+)+/, '')
    kinds.set(kind, [...(kinds.get(kind) ?? []), index])
  }
  return [...kinds.values()].flatMap((indices) => {
    const each = Math.ceil(indices.length / depths)
    const starts = Array.from({ length: Math.ceil(indices.length / each) }, (_, group) => group * each)
    return starts.map((start) => new Set(indices.slice(start, start + each)))
  })
}

/** The length of the difference, as a share of the length of the exact one. */
function distance(found: Float32Array, exact: Float32Array): number {
  let [difference, length] = [0, 0]
  for (const [at, value] of exact.entries()) {
    difference += ((found[at] ?? Number.NaN) - value) ** 2
    length += value ** 2
  }
  return Math.sqrt(difference / length)
}
