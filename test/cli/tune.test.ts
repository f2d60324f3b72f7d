import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { curve } from '../../src/cli/curve.ts'
import { environment, oriel, orielHere, root } from '../support/cli.ts'
import { jsonl, textExample } from '../support/examples.ts'
import { shortRun } from '../support/long.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { fakeTrainer } from '../support/tuning.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-cli-tune-'))
const env = {
  ORIEL_MODELS_DIR: path.join(folder, 'models'),
  ORIEL_DATA_DIR: path.join(folder, 'data'),
  XDG_CACHE_HOME: path.join(folder, 'cache'),
  ORIEL_TRAINER: fakeTrainer().join(','),
}
const file = path.join(folder, 'My chats.jsonl')
writeFileSync(file, jsonl([1, 2, 3].map((at) => textExample(`What is ${at}?`))))
afterAll(() => rmSync(folder, { recursive: true }))

describe('oriel tune', () => {
  it.skipIf(shortRun)('trains without a server, draws the loss, and says how to ask the adapter', async () => {
    const { code, stdout, stderr } = await oriel(['tune', file, '--base', 'pocket', '--trainer', 'external'], { env })
    expect({ code, stderr }).toMatchObject({ code: 0 })
    expect(stdout).toMatch(/^2\.00 │█/)
    expect(stdout).toContain('The adapter my-chats is ready: 20 steps, loss 0.100, evaluation loss 0.150, ')
    expect(stdout).toContain('Ask it: oriel ask --model pocket#my-chats photo.jpg')
    const asked = await oriel(['ask', '--model', 'pocket#my-chats', 'examples/sample.png', 'What is it?'], { env })
    expect(asked.code).toBe(0)
    const again = await oriel(['tune', file, '--base', 'pocket', '--trainer', 'external'], { env })
    expect(again.stderr).toContain('There is a model with the name my-chats. Name the adapter with --name.')
  })

  it('says what is missing, and what a dataset has that cannot be used', async () => {
    expect((await orielHere(['tune'], env)).stderr).toContain('Name a dataset')
    expect((await orielHere(['tune', file, '--rank', '3'], env)).stderr).toContain('from 4 to 64')
    const wrong = path.join(folder, 'wrong.jsonl')
    writeFileSync(wrong, '{}\n{}\n{}\n')
    const { code, stderr } = await oriel(['tune', wrong, '--base', 'pocket', '--name', 'other'], { env })
    expect(code).toBe(1)
    expect(stderr).toMatch(/line 1: messages/)
  })
})

/** Starts `oriel tune`, whose trainer does not come to its end. */
function begun(...args: string[]) {
  const waiting = { ...env, ORIEL_TRAINER: fakeTrainer('waits').join(',') }
  const child = spawn(process.execPath, [`${root}bin/oriel.js`, 'tune', ...args], { env: environment(waiting) })
  let stderr = ''
  const isThere = async (text: RegExp): Promise<string> => {
    const found = () => text.exec(stderr)
    while (found() === null) await once(child.stderr, 'data')
    return found()?.[1] ?? ''
  }
  child.stderr.on('data', (text) => {
    stderr += String(text)
  })
  return { child, isThere, ended: once(child, 'close').then(([code]) => ({ code, stderr })) }
}

describe.skipIf(shortRun || process.platform === 'win32')('oriel tune without a server, when it must end', () => {
  const args = [file, '--base', 'pocket', '--trainer', 'external', '--name', 'ended'] as const

  it('is gone on with by the id that it said, also if it was killed', async () => {
    const killed = begun(...args)
    const id = await killed.isThere(/The job is (\S+)\.\n/)
    await killed.isThere(/It begins to train|step \d+/)
    killed.child.kill('SIGKILL')
    await killed.ended
    const again = await oriel(['tune', ...args], { env })
    expect(again.stderr).toContain(`The job ${id} is training an adapter with the name ended. Name the adapter`)
    const stopped = begun('--resume', id)
    await stopped.isThere(/It begins to train|step \d+/)
    stopped.child.kill('SIGTERM')
    expect(await stopped.ended).toEqual({
      code: 130,
      stderr: expect.stringContaining(`Go on with: oriel tune --resume ${id}\n`),
    })
    const done = await oriel(['tune', '--resume', id, '--json'], { env })
    expect(JSON.parse(done.stdout)).toMatchObject({ job: id, state: 'JOB_STATE_COMPLETED', progress: { step: 20 } })
  })
})

describe('oriel tune with a server that runs', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await startServer({ accounts: { dataDir: path.join(folder, 'served') } })
  })
  afterAll(() => server.close())

  it('leaves no dataset there if the second one cannot be used', async () => {
    const wrong = path.join(folder, 'wrong evaluation.jsonl')
    writeFileSync(wrong, '{}\n{}\n{}\n')
    const served = { ORIEL_PORT: new URL(server.url).port, ORIEL_HOST: '127.0.0.1' }
    const { code, stderr } = await orielHere(['tune', file, '--base', 'pocket', '--evaluation', wrong], served)
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringMatching(/line 1: messages/) })
    expect((await orielHere(['dataset', 'list', '--json'], served)).stdout).toBe('{\n  "datasets": []\n}\n')
  })
})

describe('the curve of a loss', () => {
  it('has the mean of neighbours where there is not enough space, and a scale', () => {
    expect(curve([4, 2, 1], 40, 2)).toBe('4.00 │█\n   0 │██▄\n')
    const wide = curve(
      Array.from({ length: 1000 }, () => 1),
      40,
      1,
    )
    expect(wide.length).toBeLessThanOrEqual(41)
    expect(curve([], 40)).toBe('')
  })

  it('may have more values than a call can have arguments', () => {
    const many = Array.from({ length: 300_000 }, (_, at) => (at < 150_000 ? 2 : 1))
    expect(curve(many, 15, 2)).toBe('2.00 │████\n   0 │████████\n')
  })
})
