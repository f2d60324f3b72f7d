import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, describe, expect, it } from 'vitest'
import { environment, oriel, orielHere, root } from '../support/cli.ts'
import { type Answered, models, startControlPlane } from '../support/control-plane.ts'
import { jsonl, textExample } from '../support/examples.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-cli-away-'))
const file = path.join(folder, 'mine.jsonl')
writeFileSync(file, jsonl([1, 2, 3].map((at) => textExample(`What is ${at}?`))))
afterAll(() => rmSync(folder, { recursive: true }))

const base = '/v1/accounts/local'
const away: Answered = { status: 503, body: { error: { message: 'It starts.' } } }
/** What a proxy says in front of a server that does not run. */
const noGateway: Answered = { status: 502, body: '<h1>Bad Gateway</h1>' }
const refused: Answered = { status: 412, body: { error: { message: 'It cannot.', code: 'wrong_job_state' } } }

const dataset = (state: string): Answered => ({
  body: {
    ...{ name: 'accounts/local/datasets/mine', displayName: 'mine.jsonl', createTime: '', state },
    ...{ status: { code: 'OK', message: '' }, exampleCount: '3', report: null, problems: [] },
  },
})

const job = (state: string, datasets: { dataset: string; evaluationDataset?: string }): Answered => ({
  body: {
    ...{ name: `${base.slice(4)}/supervisedFineTuningJobs/any`, state, status: { message: '' } },
    ...{ outputModel: 'accounts/local/models/birds', baseModel: 'accounts/oriel/models/pocket' },
    ...{ dataset: `accounts/local/datasets/${datasets.dataset}` },
    ...(datasets.evaluationDataset && { evaluationDataset: `accounts/local/datasets/${datasets.evaluationDataset}` }),
    jobProgress: { percent: 0, step: 1, inputTokens: 0, totalInputRequests: 0, truncatedExamples: 0 },
  },
})

describe('a server that does not answer for a while', () => {
  it('has the dataset that was sent to it', async () => {
    const where = `${base}/datasets/mine`
    const server = await startControlPlane({
      [`POST ${base}/datasets`]: [dataset('UPLOADING')],
      [`POST ${where}:upload`]: [{ body: { bytes: 1 } }],
      [`GET ${where}`]: [away, noGateway, dataset('READY')],
    })
    const { code, stderr } = await orielHere(['dataset', 'create', file, '--server', server.url], {})
    await server.close()
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(server.count(`DELETE ${where}`)).toBe(0)
  })

  it('is asked again for a job, also if the job had not stopped', async () => {
    const where = `${base}/supervisedFineTuningJobs/birds-0123abcd`
    const own = { dataset: 'tune-0123abcd' }
    const server = await startControlPlane({
      'GET /v1/models': [models],
      [`POST ${where}:resume`]: [refused],
      [`GET ${where}`]: [job('JOB_STATE_RUNNING', own), away, job('JOB_STATE_COMPLETED', own)],
    })
    const { code, stdout } = await orielHere(
      ['tune', '--resume', 'birds-0123abcd', '--json', '--server', server.url],
      {},
    )
    await server.close()
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ state: 'JOB_STATE_COMPLETED' })
    expect(server.count(`GET ${where}`)).toBe(3)
  })
})

it('a job is gone on with, and its adapter asked, by commands with the flags that are needed to find them', async () => {
  const where = '/v1/accounts/acme/supervisedFineTuningJobs/birds-0123abcd'
  const own = { dataset: 'mine' }
  const server = await startControlPlane({
    'GET /v1/models': [models],
    [`POST ${where}:resume`]: [refused],
    [`GET ${where}`]: [job('JOB_STATE_PAUSED', own), job('JOB_STATE_COMPLETED', own)],
  })
  const flags = ['--account', 'acme', '--server', server.url, '--models-dir', "/my $HOME's models"]
  const resumed = () => orielHere(['tune', '--resume', 'birds-0123abcd', ...flags], {})
  const [stopped, done] = [await resumed(), await resumed()]
  await server.close()
  const place = `--server ${server.url} --models-dir '/my $HOME'\\''s models'`
  expect(stopped.stderr).toContain(`Go on with: oriel tune --resume birds-0123abcd --account acme ${place}\n`)
  expect(done.stdout).toContain(`Ask it: oriel ask --model pocket#birds ${place} photo.jpg "What`)
})

it('a job that is done removes the datasets that were sent for it, and none of a person', async () => {
  for (const [id, datasets, removed] of [
    ['birds-0123abcd', { dataset: 'tune-0123abcd', evaluationDataset: 'tune-0123abcd-eval' }, 2],
    ['birds-0123abcd', { dataset: 'tune-birds', evaluationDataset: 'tune-89abcdef' }, 0],
    ['my-training', { dataset: 'tune-training' }, 0],
  ] as const) {
    const where = `${base}/supervisedFineTuningJobs/${id}`
    const done = job('JOB_STATE_COMPLETED', datasets)
    const server = await startControlPlane({
      'GET /v1/models': [models],
      [`POST ${where}:resume`]: [done],
      [`GET ${where}`]: [done],
    })
    expect((await orielHere(['tune', '--resume', id, '--json', '--server', server.url], {})).code).toBe(0)
    await server.close()
    expect(
      server.asked.filter(({ what }) => what.startsWith('DELETE ')).map(({ what }) => path.basename(what)),
    ).toEqual([datasets.dataset, 'evaluationDataset' in datasets ? datasets.evaluationDataset : ''].slice(0, removed))
  }
})

it('the key goes to the server that was named, whatever address it gives for a file', async () => {
  const other = await startControlPlane({ 'GET /files/mine.jsonl': [{ body: 'theirs' }] })
  const server = await startControlPlane({
    [`GET ${base}/datasets/mine:getDownloadEndpoint`]: [
      { body: { filenameToSignedUrls: { 'mine.jsonl': `${other.url}/files/mine.jsonl?signature=1` } } },
    ],
    'GET /files/mine.jsonl': [{ body: 'mine' }],
  })
  const output = path.join(folder, 'back.jsonl')
  const args = ['dataset', 'download', 'mine', '--output', output, '--server', server.url]
  expect(await orielHere(args, { ORIEL_API_KEY: 'sk-oriel-secret' })).toMatchObject({ code: 0, stderr: '' })
  await Promise.all([server.close(), other.close()])
  expect(readFileSync(output, 'utf8')).toBe('mine')
  expect(server.asked.at(-1)?.headers.authorization).toBe('Bearer sk-oriel-secret')
  expect(other.asked).toEqual([])
})

it('an alias is what the server is asked for, also if its first model has failed: others may answer', async () => {
  const server = await startControlPlane({
    'GET /v1/models': [models],
    'POST /v1/chat/completions': [{ body: 'data: {"choices":[{"delta":{"content":"Red."}}]}\n\n' }],
  })
  const ask = (model: string) => oriel(['ask', '--server', server.url, '--model', model, 'What is it?'])
  expect(await ask('eyes')).toMatchObject({ code: 0, stdout: 'Red.\n' })
  expect((await ask('pocket')).stderr).toContain('has no model pocket.')
  await server.close()
  expect(JSON.parse(server.asked.find(({ what }) => what.startsWith('POST '))?.body ?? '')).toMatchObject({
    model: 'eyes',
  })
})

it.each(['DELETING', 'DELETED'])('a deployment that others delete is not waited for: %s', async (state) => {
  const where = `${base}/deployments/eyes`
  const none: Answered = { status: 404, body: { error: { message: 'None.', code: 'deployment_not_found' } } }
  const shown = (now: string): Answered => ({
    body: {
      ...{ name: where.slice(4), state: now, status: { message: '' }, baseModel: 'accounts/local/models/pocket' },
      ...{ displayName: '', minReplicaCount: 0, maxReplicaCount: 1, desiredReplicaCount: 1, replicaCount: 0 },
    },
  })
  const server = await startControlPlane({
    [`GET ${where}`]: [none, shown('CREATING'), shown(state), shown('READY')],
    [`POST ${base}/deployments`]: [shown('CREATING')],
  })
  const args = ['deploy', 'pocket', '--deployment-id', 'eyes', '--wait', '--server', server.url]
  const { code, stdout, stderr } = await orielHere(args, {})
  await server.close()
  expect({ code, stdout, stderr }).toEqual({
    ...{ code: 1, stdout: '' },
    stderr: 'oriel: The deployment eyes was deleted.\n',
  })
  expect(server.count(`GET ${where}`)).toBe(3)
})

it('an answer may have any characters, also those at which some readers end a line', async () => {
  const content = 'a\u2028b\u2029c\u0085d'
  const said = { choices: [{ delta: { content } }] }
  const server = await startControlPlane({
    'GET /v1/models': [models],
    'POST /v1/chat/completions': [{ body: `data: ${JSON.stringify(said)}\r\n\r\ndata: [DONE]\n\n` }],
  })
  const asked = await oriel(['ask', '--json', '--server', server.url, '--model', 'eyes', 'What is it?'])
  await server.close()
  expect(asked).toMatchObject({ code: 0, stderr: '' })
  expect(JSON.parse(asked.stdout)).toMatchObject({ text: content })
})

it('a reader that is slow gets all of the output of a command that fails', async () => {
  const message = 'It is wrong. '.repeat(1000)
  const server = await startControlPlane({
    'GET /v1/models': [models],
    'POST /v1/chat/completions': [{ status: 400, body: { error: { message } } }],
  })
  const files = Array.from({ length: 20 }, (_, at) => path.join(folder, `${at}.png`))
  for (const one of files) writeFileSync(one, 'x')
  const args = ['ask', '--each', '--json', '--server', server.url, '--model', 'eyes', ...files, 'What is it?']
  const child = spawn(process.execPath, [`${root}bin/oriel.js`, ...args], { env: environment({}) })
  const ended = once(child, 'close')
  // Nothing is read before the command has failed.
  for await (const part of child.stderr) if (String(part).includes('oriel: 20 of 20 files')) break
  const lines = (await text(child.stdout)).trimEnd().split('\n')
  expect((await ended)[0]).toBe(1)
  await server.close()
  expect(lines).toHaveLength(20)
  for (const line of lines) expect(JSON.parse(line).error.message).toContain(message.trim())
})
