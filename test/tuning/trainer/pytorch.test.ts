import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { randomNumbers } from '../../../src/random.ts'
import { noCounts, type ProgressLine } from '../../../src/tuning/contract.ts'
import { train } from '../../../src/tuning/trainer/index.ts'
import { joinedRun } from '../../../src/tuning/trainer/runs.ts'
import { Session } from '../../../src/tuning/trainer/session.ts'
import { shortRun } from '../../support/long.ts'
import { formula, formulaExamples, sequencesOf } from './formula.ts'
import { pocketDecoder, trainingConfig } from './pocket.ts'

/** Written by pocket/gradients.py. */
const reference = (name: string): string => fileURLToPath(new URL(`./pocket-gradients.${name}`, import.meta.url))
const expected: { loss: number; losses: number[] } = JSON.parse(readFileSync(reference('json'), 'utf8'))

const folder = mkdtempSync(path.join(tmpdir(), 'trainer-'))
afterAll(() => rmSync(folder, { recursive: true }))

const { rank, alpha, seed } = formula

describe('the gradients of Pocket', () => {
  it.each(['training', 'training in less memory'] as const)('are those of PyTorch: %s', async (purpose) => {
    const session = await Session.open({
      ...trainingConfig,
      decoder: pocketDecoder,
      rank,
      alpha,
      cells: 512,
      way: { precision: 'exact', purpose },
    })
    try {
      const { adapter, modules, architecture } = session
      adapter.begin(seed)
      const parameters = adapter.read(adapter.parameters)
      const random = randomNumbers(seed + 1)
      for (const module of modules) {
        const { b } = adapter.matricesOf(module, parameters)
        for (let at = 0; at < b.length; at++) b[at] = (random() - 0.5) * 0.04
      }
      adapter.write(adapter.parameters, parameters)
      const { width, vocabulary } = architecture
      let loss = 0
      let learned = 0
      const examples = formulaExamples(width, vocabulary)
      for (const some of [examples.slice(0, 4), examples.slice(4)]) {
        const run = joinedRun(some, architecture, session.embeddings)
        loss += session.learn(run)
        learned += run.rows.length
      }
      expect(learned).toBe(8 * formula.examples)
      expect(Math.abs(loss / learned / expected.loss - 1)).toBeLessThan(1e-4)
      const gradients = adapter.read(adapter.gradients)
      const wanted = matricesOf(readFileSync(reference('bin')))
      for (const module of modules) {
        const { a, b } = adapter.matricesOf(module, gradients)
        for (const [half, found] of [a, b].entries()) {
          const difference = distance(found, wanted(found.length), 1 / learned)
          expect(difference, `${module.matrix} ${half === 0 ? 'A' : 'B'}`).toBeLessThan(1e-3)
        }
      }
    } finally {
      session.close()
    }
  })
})

it.skipIf(shortRun)('50 steps of training have the losses of PyTorch within a percent', async () => {
  const lines: ProgressLine[] = []
  const { examples, steps, learningRate, warmupSteps } = formula
  const sequences = sequencesOf(formulaExamples(192, 1408))
  await train({
    decoder: pocketDecoder,
    sequences,
    evaluation: null,
    counts: noCounts,
    config: { ...trainingConfig, rank, alpha, seed, learningRate, warmupSteps, epochs: steps, batchExamples: examples },
    folder,
    onLine: (line) => lines.push(line),
    signal: new AbortController().signal,
  })
  const losses = lines.flatMap((line) => (line.type === 'step' ? [line.loss] : []))
  expect(losses).toHaveLength(steps)
  for (const [step, loss] of losses.entries())
    expect(Math.abs(loss / (expected.losses[step] ?? 0) - 1), `step ${step + 1}`).toBeLessThan(0.01)
  expect(lines.at(-1)).toEqual({ type: 'done', step: steps, earlyStopped: false, bestStep: null })
})

/** Reads one matrix after the other. */
function matricesOf(bytes: Buffer): (count: number) => Float32Array {
  let at = 0
  return (count) => {
    const most = bytes.readFloatLE(at)
    const values = Float32Array.from(
      { length: count },
      (_, index) => ofHalf(bytes.readUInt16LE(at + 4 + 2 * index)) * most,
    )
    at += 4 + 2 * count
    return values
  }
}

function ofHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25)
}

/** The length of the difference, compared with that of what is wanted. */
function distance(found: Float32Array, wanted: Float32Array, scale: number): number {
  let [difference, whole] = [0, 0]
  for (let at = 0; at < found.length; at++) {
    difference += ((found[at] ?? 0) * scale - (wanted[at] ?? 0)) ** 2
    whole += (wanted[at] ?? 0) ** 2
  }
  return Math.sqrt(difference / whole)
}
