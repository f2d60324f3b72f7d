import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { fineTuningJob, fineTuningJobList } from '../../src/api/control/tuning-jobs.ts'
import { checkpointList, eventList, job, jobList } from '../../src/api/fine-tuning/schema.ts'
import { childrenRunning } from '../support/children.ts'
import { orielServe } from '../support/cli.ts'
import { jsonl, textExample } from '../support/examples.ts'
import { type KeyedServer, startKeyed } from '../support/keyed.ts'
import { shortRun } from '../support/long.ts'
import { fakeTrainer } from '../support/tuning.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-tuning-'))
const models = path.join(folder, 'models')
const examples = jsonl(Array.from({ length: 12 }, (_, at) => textExample(`What is ${at}?`)))
let server: KeyedServer
let admin: string
let reader: string
let other: string

beforeAll(async () => {
  vi.stubEnv('XDG_CACHE_HOME', path.join(folder, 'cache'))
  server = await startKeyed({}, { models: { dirs: [models] }, tuning: { trainer: fakeTrainer('slow') } })
  admin = (await server.keyOf({ account: 'acme', scopes: ['inference', 'admin'] })).secret
  reader = (await server.keyOf({ account: 'acme' })).secret
  other = (await server.keyOf({ account: 'other' })).secret
  await withData(server.url, 'chats')
})
afterAll(async () => {
  await server.close()
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

interface Answered {
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: the schemas of the API check what is read of it.
  body: any
}

async function call(method: string, where: string, body?: unknown, key = admin, url = server.url): Promise<Answered> {
  const isForm = body instanceof FormData
  const response = await fetch(`${url}/v1${where}`, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(!isForm && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body: isForm ? body : JSON.stringify(body) }),
  })
  return { status: response.status, body: await response.json() }
}

async function withData(url: string, datasetId: string): Promise<void> {
  await call('POST', '/accounts/acme/datasets', { datasetId, dataset: { userUploaded: {} } }, admin, url)
  const form = new FormData()
  form.append('file', new Blob([examples]), 'chats.jsonl')
  await call('POST', `/accounts/acme/datasets/${datasetId}:upload`, form, admin, url)
}

const all = '/accounts/acme/supervisedFineTuningJobs'
const wanted = { dataset: 'accounts/acme/datasets/chats', baseModel: 'accounts/fireworks/models/pocket' }
const create = (id: string, more: object = {}, key = admin) =>
  call('POST', `${all}?supervisedFineTuningJobId=${id}`, { ...wanted, trainer: 'external', ...more }, key)

async function when(id: string, isThere: (state: string, step: number) => boolean, url = server.url) {
  for (;;) {
    const { body } = await call('GET', `${all}/${id}`, undefined, admin, url)
    const shown = fineTuningJob.parse(body)
    if (isThere(shown.state, shown.jobProgress.step)) return shown
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
}

describe('supervisedFineTuningJobs of Fireworks’ control plane', () => {
  it('are made, tell how far they are, and leave an adapter that answers at once', async () => {
    const made = await create('first', { outputModel: 'accounts/acme/models/greeter', epochs: 2, nodes: 4 })
    expect(fineTuningJob.parse(made.body)).toMatchObject({
      name: 'accounts/acme/supervisedFineTuningJobs/first',
      outputModel: 'accounts/acme/models/greeter',
      baseModel: 'accounts/acme/models/pocket',
      epochs: 2,
      jobProgress: { percent: 0 },
    })
    const running = await when('first', (state, step) => state === 'JOB_STATE_RUNNING' && step > 1)
    expect(running.jobProgress).toMatchObject({ steps: 20, totalInputRequests: 11, truncatedExamples: 1 })
    expect((await call('DELETE', `${all}/first`)).body.error).toMatchObject({ code: 'wrong_job_state' })
    const done = await when('first', (state) => !/PENDING|VALIDATING|RUNNING|WRITING/.test(state))
    expect(done).toMatchObject({ state: 'JOB_STATE_COMPLETED', jobProgress: { percent: 100, inputTokens: 2000 } })
    const metrics = await (await fetch(done.metricsFileSignedUrl ?? '')).text()
    expect(metrics.split('\n').filter((line) => line.includes('"type":"step"'))).toHaveLength(20)
    for (const model of ['pocket#greeter', 'accounts/acme/models/greeter']) {
      const messages = [{ role: 'user', content: 'Hello!' }]
      const { status, body } = await call('POST', '/chat/completions', { model, messages, max_tokens: 4 }, reader)
      expect({ status, model: body.model }).toEqual({ status: 200, model })
    }
    const { body } = await call('GET', '/accounts/acme/models/greeter:getDownloadEndpoint')
    expect(Object.keys(body.filenameToSignedUrls)).toEqual(
      expect.arrayContaining(['adapter_config.json', 'adapter_model.safetensors', 'greeter.gguf']),
    )
    expect((await create('again', { outputModel: 'greeter' })).body.error).toMatchObject({ code: 'model_exists' })
  })

  it('belong to their account, and are changed by its administrators', async () => {
    expect((await create('theirs', {}, reader)).status).toBe(403)
    expect((await call('GET', `${all}/first`, undefined, other)).status).toBe(403)
    const { body } = await call('GET', all, undefined, reader)
    expect(fineTuningJobList.parse(body).supervisedFineTuningJobs.map(({ name }) => name)).toContain(
      'accounts/acme/supervisedFineTuningJobs/first',
    )
    const theirs = '/accounts/other/supervisedFineTuningJobs'
    expect(fineTuningJobList.parse((await call('GET', theirs, undefined, other)).body).totalSize).toBe(0)
  })

  it('are cancelled, resumed and deleted', async () => {
    await create('second')
    await when('second', (_, step) => step > 1)
    expect((await call('POST', `${all}/second:cancel`, {})).status).toBe(200)
    await when('second', (state) => state === 'JOB_STATE_CANCELLED')
    expect((await call('POST', `${all}/second:resume`, {})).body.state).toBe('JOB_STATE_PENDING')
    await when('second', (_, step) => step > 2)
    await call('POST', `${all}/second:cancel`, {})
    await when('second', (state) => state === 'JOB_STATE_CANCELLED')
    expect((await call('DELETE', `${all}/second`)).status).toBe(200)
    expect((await call('GET', `${all}/second`)).body.error).toMatchObject({ code: 'tuning_job_not_found' })
  })

  it('have batches of 8 examples, if nobody says how many, and as many more as batches are accumulated', async () => {
    for (const [more, batchSizeSamples] of [
      [{ gradientAccumulationSteps: 1 }, 8],
      [{ gradientAccumulationSteps: 4 }, 32],
      [{ gradientAccumulationSteps: 2, batchSizeSamples: 3 }, 6],
      [{ batchSize: 65_536, batchSizeSamples: 4 }, 4],
      [{ batchSize: 65_536, gradientAccumulationSteps: 2 }, 4096],
    ] as const) {
      expect(fineTuningJob.parse((await create('batched', more)).body)).toMatchObject({ batchSizeSamples })
      await call('POST', `${all}/batched:cancel`, {})
      await when('batched', (state) => state === 'JOB_STATE_CANCELLED')
      await call('DELETE', `${all}/batched`)
    }
  })

  it.skipIf(shortRun).each([
    ['always', 'true'],
    ['sometimes', "messages[0].content == 'What is 3?'"],
  ])('fail if their template does not end, and hold nobody up: %s', async (id, condition) => {
    const forever = '{% for i in range(9999) %}'.repeat(4) + '{% endfor %}'.repeat(4)
    const jinjaTemplate = `{% if ${condition} %}${forever}{% endif %}{{ messages[0].content }}`
    await create(id, { trainer: 'built-in', jinjaTemplate })
    await create(`behind-${id}`)
    const { status } = await when(id, (state) => state === 'JOB_STATE_FAILED')
    expect(status.message).toMatch(/The model's chat template does not end: it was stopped after 10 s\.$/)
    await when(`behind-${id}`, (state) => state === 'JOB_STATE_COMPLETED')
  })

  it.each([
    [{ loraRank: 3 }, 'loraRank must be at least 4; found 3.'],
    [{ loraRank: 65 }, 'loraRank must be at most 64; found 65.'],
    [{ epochs: 0 }, 'epochs must be at least 0.01; found 0.'],
    [{ learningRate: -1 }, 'learningRate must be more than 0; found -1.'],
    [{ dataset: undefined }, 'dataset must be a string; found nothing.'],
    [{ dataset: 'nothing' }, 'There is no dataset "nothing".'],
    [{ baseModel: 'nothing' }, 'The model "nothing" is not on this server.'],
    [{ warmStartFrom: 'pocket', baseModel: null }, 'The adapter "pocket" was not found.'],
    [{ outputModel: 'No Name' }, /has 1 to 63 small letters/],
    [{ maxContextLength: 1_000_000 }, /the context of pocket has \d+ tokens/],
  ])('are refused with what is at fault: %j', async (more, message) => {
    const { status, body } = await create('wrong', more)
    expect(status).toBeGreaterThanOrEqual(400)
    expect(status).toBeLessThan(500)
    expect(body.error.message).toMatch(message)
  })
})

describe('OpenAI’s fine-tuning', () => {
  it('has the same jobs for its own client', async () => {
    const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: admin })
    const file = await client.files.create({
      file: await toFile(Buffer.from(examples), 'a.jsonl'),
      purpose: 'fine-tune',
    })
    const made = await client.fineTuning.jobs.create({
      ...{ model: 'pocket', training_file: file.id, suffix: 'spoken', seed: 7, metadata: { who: 'me' } },
      method: { type: 'supervised', supervised: { hyperparameters: { n_epochs: 2, batch_size: 'auto' } } },
    })
    expect(job.parse(made)).toMatchObject({ seed: 7, training_file: file.id, fine_tuned_model: null })
    const pairs = Object.fromEntries(Array.from({ length: 17 }, (_, at) => [`key${at}`, 'value']))
    await expect(
      client.fineTuning.jobs.create({ model: 'pocket', training_file: file.id, metadata: pairs }),
    ).rejects.toThrow('metadata must have at most 16 pairs; found an object.')
    // The built-in trainer would learn; here it is enough that the job is there.
    const stopped = await client.fineTuning.jobs.cancel(made.id)
    expect(['running', 'cancelled']).toContain(stopped.status)
    const listed = await client.fineTuning.jobs.list({ metadata: { who: 'me' } })
    expect(listed.data.map(({ id }) => id)).toEqual([made.id])
    const refused = client.fineTuning.jobs.create({
      ...{ model: 'pocket', training_file: file.id },
      integrations: [{ type: 'wandb', wandb: { project: 'mine' } }],
    })
    await expect(refused).rejects.toThrow(/integrations is not supported/)
    await expect(client.fineTuning.jobs.retrieve('ftjob-none')).rejects.toThrow(/There is no job "ftjob-none"/)
    // A file that is deleted keeps its name in the job.
    await client.files.delete(file.id)
    expect(await client.fineTuning.jobs.retrieve(made.id)).toMatchObject({ training_file: file.id })
  })

  it('tells what happened, and lists the checkpoint of a job that is done', async () => {
    const raw = async (where: string) => (await call('GET', where, undefined, reader)).body
    expect(job.parse(await raw('/fine_tuning/jobs/first'))).toMatchObject({
      status: 'succeeded',
      fine_tuned_model: 'greeter',
      trained_tokens: 2000,
    })
    const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: reader })
    const { result_files: files } = await client.fineTuning.jobs.retrieve('first')
    expect(await client.files.retrieve(files[0] ?? '')).toMatchObject({ purpose: 'fine-tune-results' })
    expect(await (await client.files.content(files[0] ?? '')).text()).toContain('"type":"step","step":20,')
    const { body: pocket } = await call('GET', '/accounts/acme/models/pocket', undefined, reader)
    expect(pocket).toMatchObject({ tunable: true })
    const last = eventList.parse(await raw('/fine_tuning/jobs/first/events?limit=3'))
    expect(last).toMatchObject({ has_more: true, data: [{ message: 'The adapter greeter answers.' }, {}, {}] })
    const before = eventList.parse(await raw(`/fine_tuning/jobs/first/events?limit=100&after=${last.data[2]?.id}`))
    expect(before.data.at(-1)).toMatchObject({ message: 'The job was created.' })
    expect(new Set([...last.data, ...before.data].map(({ id }) => id)).size).toBe(last.data.length + before.data.length)
    const { data } = checkpointList.parse(await raw('/fine_tuning/jobs/first/checkpoints'))
    expect(data).toMatchObject([{ fine_tuned_model_checkpoint: 'greeter', step_number: 20 }])
    expect(jobList.parse(await raw('/fine_tuning/jobs?limit=1')).data).toHaveLength(1)
    await expect(client.fineTuning.jobs.list({ after: 'gone' })).rejects.toMatchObject({ status: 404, param: 'after' })
    const theirs = await call('GET', '/fine_tuning/jobs/first', undefined, other)
    expect(theirs.status).toBe(404)
  })
})

describe.skipIf(shortRun)('a server that is killed', () => {
  it('takes its trainer with it, and goes on with the job when it starts again', async () => {
    const env = {
      ORIEL_DATA_DIR: path.join(folder, 'killed'),
      ORIEL_MODELS_DIR: path.join(folder, 'killed-models'),
      ORIEL_TRAINER: fakeTrainer('slow').join(','),
      ORIEL_ADMIN_KEY: admin,
    }
    const first = await orielServe([], env)
    await withData(first.url, 'chats')
    const made = await call(
      'POST',
      `${all}?supervisedFineTuningJobId=job`,
      { ...wanted, trainer: 'external' },
      admin,
      first.url,
    )
    expect(made.status).toBe(200)
    const before = await when('job', (_, step) => step > 3, first.url)
    first.child.kill('SIGKILL')
    await vi.waitFor(() => expect(childrenRunning('fake-trainer')).toEqual([]), { timeout: 20_000 })
    const second = await orielServe([], env)
    const done = await when('job', (state) => /COMPLETED|FAILED/.test(state), second.url)
    expect(done).toMatchObject({ state: 'JOB_STATE_COMPLETED', jobProgress: { step: 20 } })
    const steps = (await (await fetch(done.metricsFileSignedUrl ?? '')).text())
      .split('\n')
      .flatMap((line) => (line.includes('"type":"step"') ? [JSON.parse(line).step] : []))
    expect(steps).toEqual(Array.from({ length: 20 }, (_, at) => at + 1))
    expect(before.jobProgress.step).toBeLessThan(20)
    second.child.kill('SIGTERM')
  })
})
