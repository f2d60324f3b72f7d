import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { ResourceStore } from '../../src/deployments/index.ts'
import { MemoryBudget } from '../../src/deployments/memory-budget.ts'
import { audioFamilies, imageFamilies } from '../../src/encoders/index.ts'
import { OrielError } from '../../src/errors.ts'
import { loadConfig } from '../../src/load-config.ts'
import { createLibrary } from '../../src/models/index.ts'
import { createTuning, type Happening, type Tuning, type TuningJob, type WantedJob } from '../../src/tuning/index.ts'
import { JobFolder } from '../../src/tuning/jobs/folder.ts'
import { noProgress, secondsLeft } from '../../src/tuning/jobs/record.ts'
import { childrenRunning } from '../support/children.ts'
import { jsonl, textExample } from '../support/examples.ts'
import { inputs, shortRun } from '../support/long.ts'
import { memoryResources } from '../support/memory-resources.ts'
import { fakeTrainer } from '../support/tuning.ts'
import { patient } from '../support/wait.ts'

const log = pino({ level: 'silent' })
const account = 'acme'
const folders: string[] = []
const opened: Tuning[] = []

afterEach(async () => {
  for (const tuning of opened.splice(0)) await tuning.close()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

interface Place {
  resources: ResourceStore
  folder: string
}

function newPlace(): Place {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-jobs-'))
  folders.push(folder)
  return { resources: memoryResources(), folder }
}

/** What a server has that trains with a trainer that learns nothing. */
async function open(
  { resources, folder }: Place,
  { trainer = fakeTrainer(), budget = new MemoryBudget(16e9), runsAll = true } = {},
): Promise<Tuning & { models: string }> {
  const models = path.join(folder, 'models')
  const config = loadConfig({ accounts: { dataDir: folder }, models: { dirs: [models] }, tuning: { trainer } }, {})
  const library = createLibrary(config.models, { images: imageFamilies, audio: audioFamilies })
  const memory = {
    budget: budget.bytes,
    taken: 0,
    reserve: (bytes: number, signal: AbortSignal) => budget.reserve(bytes, signal),
  }
  const deployments = { memory, list: async () => [] }
  const tuning = await createTuning({ resources, config, library, cards: [], deployments, runsAll, log })
  opened.push(tuning)
  return { ...tuning, models }
}

async function withData(tuning: Tuning, id = 'chats', examples = 20): Promise<void> {
  const text = Buffer.from(jsonl(Array.from({ length: examples }, (_, at) => textExample(`What is ${at}?`))))
  await tuning.datasets.add(account, { id }, { name: 'chats.jsonl', bytes: text.length }, (write) => write(text))
}

const create = (tuning: Tuning, wanted: Partial<WantedJob> = {}): Promise<TuningJob> =>
  tuning.jobs.create(account, { id: 'job', dataset: 'chats', base: 'pocket', trainer: 'external', ...wanted })

/** A job when it is in one of these states. */
async function when({ jobs }: Tuning, isThere: (job: TuningJob) => boolean, id = 'job'): Promise<TuningJob> {
  for (;;) {
    const job = await jobs.find({ account, id })
    if (isThere(job)) return job
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const isOver = ({ state }: TuningJob): boolean =>
  ['completed', 'failed', 'paused', 'cancelled', 'early_stopped'].includes(state)
const over = (tuning: Tuning, id?: string) => when(tuning, isOver, id)

async function historyOf({ jobs }: Tuning, id = 'job'): Promise<Happening[]> {
  const happened: Happening[] = []
  for await (const one of await jobs.history({ account, id })) happened.push(one)
  return happened
}

const stepsOf = (happened: readonly Happening[]): number[] =>
  happened.flatMap((one) => (one.type === 'step' ? [one.step] : []))

describe('a job', () => {
  it('trains on a dataset and makes an adapter of the library, in the format of PEFT and in GGUF', async () => {
    const tuning = await open(newPlace())
    await withData(tuning)
    const made = await create(tuning, { output: 'greeter' })
    expect(made).toMatchObject({ state: 'pending', base: 'pocket', output: 'greeter', trainer: 'external' })
    const job = await over(tuning)
    expect(job).toMatchObject({ state: 'completed', error: null })
    expect(job.progress).toMatchObject({ examples: 18, evaluation: 2, step: 20, steps: 20, truncated: 1, loss: 0.1 })
    expect(readdirSync(path.join(tuning.models, 'adapters', 'greeter')).sort()).toEqual([
      'adapter_config.json',
      'adapter_model.safetensors',
      'greeter.gguf',
      'oriel.json',
    ])
    const happened = await historyOf(tuning)
    expect(stepsOf(happened)).toEqual(Array.from({ length: 20 }, (_, at) => at + 1))
    expect(happened.flatMap((one) => (one.type === 'message' ? [one.message] : []))).toEqual([
      'The job was created.',
      'The job has begun.',
      'The adapter greeter answers.',
    ])
  })

  it('waits for its turn: one runs at a time', async () => {
    const tuning = await open(newPlace(), { trainer: fakeTrainer('slow') })
    await withData(tuning)
    await create(tuning)
    await create(tuning, { id: 'second' })
    await when(tuning, ({ state }) => state === 'running')
    expect(await tuning.jobs.find({ account, id: 'second' })).toMatchObject({ state: 'pending' })
    expect(await tuning.jobs.cancel({ account, id: 'second' })).toMatchObject({ state: 'cancelled' })
    await tuning.jobs.cancel({ account, id: 'job' })
    expect(await over(tuning)).toMatchObject({ state: 'cancelled' })
    expect(childrenRunning('fake-trainer')).toEqual([])
  })

  it('stops with a checkpoint when it is paused, and goes on from it', async () => {
    const tuning = await open(newPlace(), { trainer: fakeTrainer('slow') })
    await withData(tuning)
    await create(tuning)
    await when(tuning, ({ progress }) => progress.step >= 3)
    await tuning.jobs.pause({ account, id: 'job' })
    const paused = await over(tuning)
    expect(paused).toMatchObject({ state: 'paused' })
    await expect(tuning.jobs.pause({ account, id: 'job' })).rejects.toMatchObject({ code: 'wrong_job_state' })
    await tuning.jobs.resume({ account, id: 'job' })
    expect(await over(tuning)).toMatchObject({ state: 'completed' })
    expect(stepsOf(await historyOf(tuning))).toEqual(Array.from({ length: 20 }, (_, at) => at + 1))
  })

  it('is resumed where its process has ended without a word, and not while it runs', async () => {
    const place = newPlace()
    const first = await open(place, { trainer: fakeTrainer('waits') })
    await withData(first)
    await create(first, { output: 'greeter' })
    await when(first, ({ progress }) => progress.step >= 3)
    // As `oriel tune` has it without a server: it runs its own jobs alone.
    const second = await open(place, { runsAll: false })
    const resumed = () => second.jobs.resume({ account, id: 'job' })
    await expect(resumed()).rejects.toMatchObject({ code: 'wrong_job_state' })
    await first.close()
    expect((await second.jobs.find({ account, id: 'job' })).state).toBe('running')
    await expect(create(second, { id: 'again', output: 'greeter' })).rejects.toThrow(
      'The job job is training an adapter with the name greeter.',
    )
    await resumed()
    expect(await over(second)).toMatchObject({ state: 'completed' })
    expect(stepsOf(await historyOf(second))).toEqual(Array.from({ length: 20 }, (_, at) => at + 1))
  })

  it('is not resumed when something else has got the name of its adapter, which would be found out at its end', async () => {
    const tuning = await open(newPlace(), { trainer: fakeTrainer('slow') })
    await withData(tuning)
    await create(tuning, { output: 'greeter' })
    await when(tuning, ({ state }) => state === 'running')
    await tuning.jobs.pause({ account, id: 'job' })
    await over(tuning)
    await create(tuning, { id: 'other', output: 'greeter' })
    const resumed = () => tuning.jobs.resume({ account, id: 'job' })
    const code = 'model_exists'
    const message = 'The job other is training an adapter with the name greeter.'
    await expect(resumed()).rejects.toMatchObject({ kind: 'conflict', code, message })
    expect(await over(tuning, 'other')).toMatchObject({ state: 'completed' })
    await expect(resumed()).rejects.toMatchObject({ code, message: 'There is a model with the name greeter.' })
    expect(await tuning.jobs.find({ account, id: 'job' })).toMatchObject({ state: 'paused' })
  })

  it('goes on from its checkpoint though the adapter that it began with was removed meanwhile', async () => {
    const place = newPlace()
    const before = await open(place)
    await withData(before)
    await create(before, { id: 'before', output: 'greeter' })
    await over(before, 'before')
    await before.close()
    const first = await open(place, { trainer: fakeTrainer('waits') })
    await create(first, { base: undefined, warmStart: 'greeter' })
    await when(first, ({ progress }) => progress.step >= 3)
    await first.close()
    rmSync(path.join(first.models, 'adapters', 'greeter'), { recursive: true })
    expect(await over(await open(place))).toMatchObject({ state: 'completed', error: null })
  })

  it('is cancelled at any moment, also while its turn begins', async () => {
    const tuning = await open(newPlace(), { trainer: fakeTrainer('slow') })
    await withData(tuning)
    const cancelled = Array.from({ length: inputs(8, 40) }, (_, wait) => ({ account, id: `job-${wait}`, wait }))
    for (const { id, wait } of cancelled) {
      await create(tuning, { id })
      await sleep(wait)
      await tuning.jobs.cancel({ account, id })
    }
    await create(tuning, { id: 'last' })
    await over(tuning, 'last')
    for (const { wait, ...name } of cancelled)
      expect((await tuning.jobs.find(name)).state, `after ${wait} ms`).toBe('cancelled')
  })

  it.runIf(process.platform === 'linux')('is over though a process that it has started is not', async () => {
    const place = newPlace()
    const tuning = await open(place, { trainer: fakeTrainer('strays') })
    await withData(tuning)
    await create(tuning)
    const worker = await vi.waitFor(() => {
      const [name = ''] = readdirSync(place.folder, { recursive: true, encoding: 'utf8' }).filter((one) =>
        one.endsWith('worker'),
      )
      const pid = Number(readFileSync(path.join(place.folder, name), 'utf8'))
      // The file may not be written yet, and a signal to 0 is one to this process.
      expect(pid).toBeGreaterThan(0)
      return pid
    }, patient)
    try {
      expect((await over(tuning)).state).toBe('completed')
    } finally {
      process.kill(worker)
    }
  })

  it('fails, and nothing else, where a file of it cannot be written', async () => {
    const folder = new JobFolder(newPlace().folder, { account, id: 'job' })
    await folder.make()
    await folder.note({ type: 'message', level: 'info', message: 'It has begun.' })
    mkdirSync(path.join(folder.path, 'history.jsonl.new'))
    await expect(folder.forgetSteps(1)).rejects.toMatchObject({ code: 'EISDIR' })
  })

  it.skipIf(shortRun)('goes on with the next server when its own ends', async () => {
    const place = newPlace()
    const first = await open(place, { trainer: fakeTrainer('slow') })
    await withData(first)
    await create(first)
    await when(first, ({ progress }) => progress.step >= 3)
    await first.close()
    expect(childrenRunning('fake-trainer')).toEqual([])
    const second = await open(place)
    expect(await over(second)).toMatchObject({ state: 'completed' })
    expect(stepsOf(await historyOf(second))).toEqual(Array.from({ length: 20 }, (_, at) => at + 1))
  })

  it.each([
    ['refuses', 'training_failed', 'line 2: the picture is too dark.'],
    ['crashes', 'trainer_crashed', /ended before it was done/],
    ['misfits', 'adapter_unusable', /cannot be used/],
  ] as const)('fails with a reason if its trainer %s', async (behaviour, code, message) => {
    const tuning = await open(newPlace(), { trainer: fakeTrainer(behaviour) })
    await withData(tuning)
    await create(tuning)
    const job = await over(tuning)
    expect(job).toMatchObject({ state: 'failed', error: { code, message: expect.stringMatching(message) } })
    expect(job.error?.message).not.toContain(tmpdir())
  })

  it('fails for a reason that is in the log of the server, if nobody may read it', async () => {
    const cause = new OrielError('internal', 'A library failed at /secret.')
    const budget = new MemoryBudget(16e9)
    vi.spyOn(budget, 'reserve').mockRejectedValue(cause)
    const logged = vi.spyOn(log, 'error')
    const tuning = await open(newPlace(), { budget })
    await withData(tuning)
    await create(tuning)
    const message = 'The job failed for a reason that is in the log of the server.'
    expect(await over(tuning)).toMatchObject({ state: 'failed', error: { code: 'internal', message } })
    expect(logged).toHaveBeenCalledWith({ cause, job: 'job' }, expect.any(String))
  })

  it('fails if pinned models leave too little memory, and waits while busy ones do', async () => {
    const budget = new MemoryBudget(2e9)
    const tuning = await open(newPlace(), { budget })
    await withData(tuning)
    const pinned = await budget.reserve(1.5e9, new AbortController().signal)
    await create(tuning)
    expect(await over(tuning)).toMatchObject({ state: 'failed', error: { code: 'memory_pinned' } })
    pinned.release()
    await tuning.jobs.resume({ account, id: 'job' })
    expect(await over(tuning)).toMatchObject({ state: 'completed' })
    expect(budget.taken).toBe(0)
  })

  it('tells that it was stopped early by its evaluation', async () => {
    const tuning = await open(newPlace(), { trainer: fakeTrainer('early') })
    await withData(tuning)
    await create(tuning)
    expect(await over(tuning)).toMatchObject({ state: 'early_stopped' })
  })

  it('shows the losses of the step that its adapter is of, not of the last one', async () => {
    const tuning = await open(newPlace(), { trainer: fakeTrainer('early') })
    await withData(tuning)
    await create(tuning)
    const { progress } = await over(tuning)
    expect(progress).toMatchObject({ step: 20, bestStep: 10, loss: 0.2, evaluationLoss: 0.3 })
  })
})

it('the time that is left of a job is never below 0, also if it takes more steps than were reckoned', () => {
  const left = (step: number) =>
    secondsLeft({ state: 'running', progress: { ...noProgress, step, steps: 5, seconds: 60 } })
  expect([4, 5, 6].map(left)).toEqual([15, 0, 0])
})

describe('what is wanted of a job', () => {
  it('is refused with the part that is at fault', async () => {
    const tuning = await open(newPlace(), { trainer: [] })
    await withData(tuning)
    const wrong = (wanted: Partial<WantedJob>) => create(tuning, { trainer: undefined, ...wanted })
    await expect(wrong({ dataset: 'others' })).rejects.toMatchObject({ code: 'dataset_not_found' })
    await expect(wrong({ base: 'nothing' })).rejects.toMatchObject({ param: 'baseModel', kind: 'not_found' })
    await expect(wrong({ base: undefined })).rejects.toMatchObject({ param: 'baseModel', kind: 'invalid' })
    await expect(wrong({ warmStart: 'nothing', base: undefined })).rejects.toMatchObject({ param: 'warmStartFrom' })
    await expect(wrong({ output: 'No Name' })).rejects.toMatchObject({ kind: 'invalid' })
    await expect(wrong({ id: 'Not Allowed' })).rejects.toMatchObject({ code: 'bad_job_id' })
    await expect(wrong({ trainer: 'external' })).rejects.toMatchObject({ code: 'no_trainer' })
    const preset = await open(newPlace(), { trainer: ['trl'] })
    await withData(preset)
    const early = { trainer: 'external', hyperparameters: { earlyStop: true } } as const
    await expect(create(preset, early)).rejects.toMatchObject({ code: 'trainer_unable', param: 'earlyStop' })
    await expect(wrong({ hyperparameters: { maxTokens: 1e6 } })).rejects.toMatchObject({ param: 'maxContextLength' })
  })

  it('is refused if another job that is made at the same moment trains an adapter with the same name', async () => {
    const tuning = await open(newPlace(), { trainer: fakeTrainer('slow') })
    await withData(tuning)
    const made = await Promise.allSettled(['one', 'two'].map((id) => create(tuning, { id, output: 'greeter' })))
    expect(made.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    const refused = made.find(({ status }) => status === 'rejected')
    expect(refused).toMatchObject({ reason: { code: 'model_exists', param: 'outputModel' } })
    expect(await tuning.jobs.list()).toHaveLength(1)
  })
})
