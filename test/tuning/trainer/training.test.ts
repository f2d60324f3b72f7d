import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { convert } from '../../../src/models/peft/convert.ts'
import { planPeft, readPeft } from '../../../src/models/peft/plan.ts'
import { noCounts, type ProgressLine, type TrainingConfig } from '../../../src/tuning/contract.ts'
import type { Sequence } from '../../../src/tuning/sequence.ts'
import { train } from '../../../src/tuning/trainer/index.ts'
import { joinedRun } from '../../../src/tuning/trainer/runs.ts'
import { Session } from '../../../src/tuning/trainer/session.ts'
import { openSmall } from '../../support/decoder.ts'
import { writeGguf } from '../../support/gguf-file.ts'
import { shortRun } from '../../support/long.ts'
import { formulaExamples, sequencesOf } from './formula.ts'
import { pocketDecoder, trainingConfig } from './pocket.ts'
import { servedLoss } from './served.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'training-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const examples = formulaExamples(192, 840, 10)
const [taught, asked] = [examples.slice(0, 8), examples.slice(8)]

interface Wanted {
  readonly config?: Partial<TrainingConfig>
  readonly evaluation?: readonly Sequence[]
  /** Called with each line. */
  readonly onLine?: (line: ProgressLine, stop: () => void) => void
  readonly into?: string
}

async function linesOf({ config, evaluation = asked, onLine, into = folder }: Wanted = {}): Promise<ProgressLine[]> {
  const lines: ProgressLine[] = []
  const stop = new AbortController()
  await train({
    decoder: pocketDecoder,
    sequences: sequencesOf(taught),
    evaluation: evaluation.length === 0 ? null : sequencesOf(evaluation),
    counts: noCounts,
    config: { ...trainingConfig, epochs: 3, batchExamples: 3, warmupSteps: 2, ...config },
    folder: into,
    onLine(line) {
      lines.push(line)
      onLine?.(line, () => stop.abort())
    },
    signal: stop.signal,
  })
  return lines
}

/** What of a curve does not depend on the clock. */
const curveOf = (lines: readonly ProgressLine[]): ProgressLine[] =>
  lines
    .filter(({ type }) => type === 'step' || type === 'evaluation' || type === 'done')
    .map((line) => (line.type === 'step' ? { ...line, seconds: 0 } : line))

/** The lowest evaluation loss. */
const bestOf = (lines: readonly ProgressLine[]): number =>
  Math.min(...lines.map((line) => (line.type === 'evaluation' ? line.loss : Number.POSITIVE_INFINITY)))

const stepOf = (line: ProgressLine): number => (line.type === 'step' ? line.step : 0)

describe('training that stops', () => {
  it('goes on from its checkpoint with the curve of one that does not', async () => {
    const whole = curveOf(await linesOf({ into: path.join(folder, 'whole') }))
    const first = await linesOf({ onLine: (line, stop) => stepOf(line) === 4 && stop() })
    expect(first.at(-1)?.type).not.toBe('done')
    expect(existsSync(path.join(folder, 'output'))).toBe(false)
    expect([...curveOf(first), ...curveOf(await linesOf())]).toEqual(whole)
  })

  it.skipIf(shortRun)('that is killed repeats what came after its last checkpoint', async () => {
    const whole = curveOf(await linesOf({ into: path.join(folder, 'whole') }))
    await linesOf({ onLine: (line, stop) => stepOf(line) === 2 && stop() })
    const killed = linesOf({
      onLine(line) {
        if (stepOf(line) === 5) throw new Error('killed')
      },
    })
    await expect(killed).rejects.toThrow('killed')
    expect(curveOf(await linesOf())).toEqual(whole.slice(2))
  })

  it('goes on with other settings of the server, and though its files are elsewhere now', async () => {
    await linesOf({ onLine: (line, stop) => stepOf(line) === 4 && stop() })
    const reading = { ...trainingConfig.reading, maxImages: 3, visionRuntime: 'ggml', weightCacheBytes: 7 } as const
    const base = { ...trainingConfig.base, decoder: path.join(folder, 'moved.gguf') }
    const lines = await linesOf({ config: { reading, base, memoryBytes: 2e9 } })
    expect(lines.find(({ type }) => type === 'step')).toMatchObject({ step: 5 })
  })

  it('begins again with another configuration', async () => {
    await linesOf({ onLine: (line, stop) => stepOf(line) === 4 && stop() })
    const lines = await linesOf({ config: { learningRate: 1e-3 } })
    expect(lines.find(({ type }) => type === 'step')).toMatchObject({ step: 1 })
  })
})

it.runIf(process.platform === 'linux')('says that the disk is full, and leaves no half of a checkpoint', async () => {
  const checkpoint = path.join(folder, 'checkpoint')
  mkdirSync(checkpoint)
  symlinkSync('/dev/full', path.join(checkpoint, 'trainer.checkpoint.new'))
  const stopped = linesOf({ onLine: (line, stop) => stepOf(line) === 2 && stop() })
  await expect(stopped).rejects.toMatchObject({ kind: 'precondition_failed', code: 'no_space' })
  expect(readdirSync(checkpoint)).toEqual([])
})

it.skipIf(shortRun)('the number of threads does not change the curve', async () => {
  const one = curveOf(await linesOf({ into: path.join(folder, 'one') }))
  const two = curveOf(await linesOf({ into: path.join(folder, 'two'), config: { threads: 2 } }))
  expect(two).toEqual(one)
})

it('ends early where the evaluation does not get better, and keeps the best adapter', async () => {
  const lines = await linesOf({ config: { epochs: 30, earlyStop: true, learningRate: 0.02 } })
  const done = lines.at(-1)
  if (done?.type !== 'done') throw new Error('it is not done')
  expect(done.earlyStopped).toBe(true)
  const evaluations = lines.flatMap((line) => (line.type === 'evaluation' ? [line] : []))
  const best = evaluations.toSorted((a, b) => a.loss - b.loss)[0]
  expect(done.bestStep).toBe(best?.step)
  expect(evaluations.slice(-2).every(({ loss }) => loss >= (best?.loss ?? 0))).toBe(true)
  // The adapter that is written has the loss of the best step.
  const again = await linesOf({
    into: path.join(folder, 'again'),
    config: { warmStart: path.join(folder, 'output'), learningRate: 1e-12, epochs: 0.5 },
  })
  expect(again.find(({ type }) => type === 'evaluation')).toMatchObject({ loss: expect.closeTo(best?.loss ?? 0, 3) })
})

it('the adapter that it writes changes the answers of llama.cpp as it was trained to', async () => {
  const lines = await linesOf({ config: { epochs: 5, rank: 4, alpha: 8 }, evaluation: taught })
  const best = bestOf(lines)
  const output = path.join(folder, 'output')
  expect(JSON.parse(readFileSync(path.join(output, 'adapter_config.json'), 'utf8'))).toMatchObject({
    ...{ peft_type: 'LORA', r: 4, lora_alpha: 8, base_model_name_or_path: 'pocket' },
    target_modules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
  })
  const peft = await readPeft(output)
  const {
    architecture,
    alpha,
    decoder: tensors,
    invocation,
  } = await planPeft(peft, { decoder: pocketDecoder, projector: null })
  const target = path.join(folder, 'adapter.gguf')
  convert({ source: peft.file, target, architecture, name: 'test', alpha, invocation, tensors })
  const decoder = openSmall(pocketDecoder, { batchRows: 64 })
  const adapter = await decoder.loadAdapter(target)
  let loss = 0
  for (const sequence of taught) loss += await servedLoss(decoder, sequence, { adapter, scale: 1 })
  decoder.close()
  expect(Math.abs(loss / (8 * taught.length) / best - 1)).toBeLessThan(0.01)
})

describe('the adapter that it writes has the names that PEFT looks for in', () => {
  /** Without what this server reads adapters with, which knows several names of a decoder. */
  const namesIn = (file: string): string[] => {
    const bytes = readFileSync(file)
    return Object.keys(JSON.parse(bytes.toString('utf8', 8, 8 + Number(bytes.readBigUInt64LE()))))
  }

  it.each([
    ['SmolVLM and Idefics3', 'idefics3', 'base_model.model.model.text_model.layers.0.'],
    ['other models that see', 'pixtral', 'base_model.model.model.language_model.layers.0.'],
    ['models that do not', null, 'base_model.model.model.layers.0.'],
  ])('%s', async (_, type, start) => {
    const projector = type === null ? null : path.join(folder, 'mmproj.gguf')
    if (projector !== null) writeGguf(projector, { 'clip.projector_type': { string: String(type) } }, [], 1)
    await linesOf({ config: { epochs: 0.1, base: { ...trainingConfig.base, projector } }, evaluation: [] })
    const names = namesIn(path.join(folder, 'output', 'adapter_model.safetensors'))
    const matrices = ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj', 'self_attn.o_proj']
    matrices.push('mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj')
    const wanted = matrices.flatMap((matrix) => ['A', 'B'].map((half) => `${start}${matrix}.lora_${half}.weight`))
    expect(names.filter((name) => name.includes('.layers.0.'))).toEqual(wanted)
  })
})

describe('training from another adapter', () => {
  it('begins where that one was best, also with a higher rank', async () => {
    const best = bestOf(await linesOf({ config: { epochs: 3 }, evaluation: taught }))
    const after = await linesOf({
      into: path.join(folder, 'after'),
      config: { warmStart: path.join(folder, 'output'), rank: 8, alpha: 8, epochs: 1, batchExamples: taught.length },
    })
    expect(after.find(({ type }) => type === 'step')).toMatchObject({ loss: expect.closeTo(best, 3) })
  })

  it('refuses one of a higher rank', async () => {
    await linesOf({ config: { epochs: 1, rank: 8 } })
    const into = path.join(folder, 'after')
    await expect(linesOf({ into, config: { warmStart: path.join(folder, 'output') } })).rejects.toMatchObject({
      ...{ kind: 'invalid', code: 'bad_warm_start' },
      message: 'Training cannot begin with this adapter: its rank is 8, and that of the training 4.',
    })
  })
})

it('says before the first step how much memory it needs, and that it may not take so much', async () => {
  const lines: ProgressLine[] = []
  const trained = linesOf({ config: { memoryBytes: 150e6 }, onLine: (line) => lines.push(line) })
  await expect(trained).rejects.toMatchObject({
    ...{ kind: 'precondition_failed', code: 'out_of_memory' },
    message: expect.stringMatching(
      /^Training needs [\d,]+ MB of memory with examples of \d+ tokens, and may take 150 MB\./,
    ),
  })
  expect(lines).toEqual([])
})

it('weights of 8 bits give gradients of the same direction', async () => {
  const gradients = await Promise.all(
    (['exact', 'rounded'] as const).map(async (precision) => {
      const session = await Session.open({
        ...{ ...trainingConfig, decoder: pocketDecoder, cells: 512 },
        way: { precision, purpose: 'training' },
      })
      session.adapter.begin(1)
      session.learn(joinedRun(examples, session.architecture, session.embeddings))
      const found = session.adapter.read(session.adapter.gradients)
      session.close()
      return found
    }),
  )
  const [exact = new Float32Array(0), rounded = new Float32Array(0)] = gradients
  const product = (a: Float32Array, b: Float32Array): number =>
    a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0)
  expect(product(exact, rounded) ** 2 / product(exact, exact) / product(rounded, rounded)).toBeGreaterThan(0.99)
})
