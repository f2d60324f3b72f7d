import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { environment, type Finished, oriel, orielHere, root } from '../support/cli.ts'
import { jsonl, pictureExample, textExample } from '../support/examples.ts'
import { shape } from '../support/images.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

let server: TestServer
const folder = mkdtempSync(path.join(tmpdir(), 'oriel-cli-datasets-'))
const file = (name: string): string => path.join(folder, name)
let red: Buffer
beforeAll(async () => {
  server = await startServer({ accounts: { dataDir: file('data') } })
  red = await shape('red')
  mkdirSync(file('images'))
  writeFileSync(file('images/red.png'), red)
  const asking = (at: number) => {
    const example = pictureExample(red, `What is ${at}?`, 'A circle.')
    const image_url = { url: 'images/red.png' }
    example.messages[0] = {
      role: 'user',
      content: [
        { type: 'image_url', image_url },
        { type: 'text', text: `${at}?` },
      ],
    }
    return example
  }
  writeFileSync(file('My parts.jsonl'), jsonl([1, 2, 3].map(asking)))
  writeFileSync(file('wrong.jsonl'), jsonl([textExample('a'), { messages: [] }, { messages: 1 }]))
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

const command = (...args: string[]): Promise<Finished> =>
  orielHere(['dataset', ...args], { ORIEL_PORT: new URL(server.url).port, ORIEL_HOST: '127.0.0.1' })

it('a dataset is checked on this machine as a server does, with the tokens of a model', async () => {
  const right = await command('validate', file('My parts.jsonl'), '--base', 'pocket')
  expect(right).toMatchObject({ code: 0, stderr: '' })
  expect(right.stdout).toMatch(
    /My parts\.jsonl: 3 examples, 3 answers, 3 pictures \(1 different\), 0\.\d kB\.\npocket reads \d+ tokens: \d+ are learned, 33\d are of pictures\. All examples fit in 4,096 tokens\.\n$/,
  )
  const cut = await command(
    'validate',
    file('My parts.jsonl'),
    '--base',
    'pocket',
    '--max-context-length',
    '10',
    '--json',
  )
  expect(JSON.parse(cut.stdout)).toMatchObject({
    report: { examples: 3 },
    problems: [],
    tokens: { maxTokens: 10, truncated: 3, dropped: 3 },
  })
  const wrong = await oriel(['dataset', 'validate', file('wrong.jsonl')])
  expect(wrong).toMatchObject({
    code: 1,
    stderr: 'line 2: messages has 0 messages; 2 to 1000 are allowed.\nline 3: messages is 1; it must be a list.\n',
  })
  expect((await command('validate', file('none.jsonl'))).stderr).toMatch(/^oriel: There is no file /)
})

it('a dataset is sent with its pictures, listed, shown, fetched and deleted', async () => {
  expect((await command('list')).stdout).toBe('There are no datasets. `oriel dataset create <file>` sends one.\n')
  const made = await command('create', file('My parts.jsonl'))
  expect(made).toMatchObject({ code: 0, stderr: '' })
  expect(made.stdout).toMatch(
    /^The dataset my-parts is ready: 3 examples, 3 answers, 3 pictures \(1 different\), .*\.\n$/,
  )
  expect((await command('create', file('My parts.jsonl'))).stderr).toBe('oriel: There is a dataset my-parts already.\n')
  expect((await command('list')).stdout).toMatch(
    /^NAME +TITLE +STATE\naccounts\/local\/datasets\/my-parts +My parts\.jsonl +ready +3 examples, /m,
  )
  expect(
    (await orielHere(['complete', 'oriel dataset show my'], { ORIEL_PORT: new URL(server.url).port })).stdout,
  ).toBe('my-parts\n')
  expect((await command('show', 'accounts/local/datasets/my-parts')).stdout).toMatch(/^state +ready$/m)
  expect((await command('download', 'my-parts', '--output', file('back.jsonl'))).stdout).toMatch(
    /back\.jsonl was written/,
  )
  const [line = ''] = readFileSync(file('back.jsonl'), 'utf8').split('\n')
  expect(JSON.parse(line).messages[0].content[0].image_url.url).toBe(`data:image/png;base64,${red.toString('base64')}`)
  expect((await command('download', 'my-parts', '--output', '-')).stdout).toBe(readFileSync(file('back.jsonl'), 'utf8'))
  expect((await command('delete', 'my-parts')).stderr).toMatch(/--yes/)
  expect((await command('delete', 'my-parts', '--yes')).stdout).toBe('The dataset my-parts was deleted.\n')
  for (const flags of [['--yes'], []])
    expect((await command('delete', 'my-parts', ...flags)).stdout).toBe('There is no dataset my-parts.\n')
})

it('a dataset that cannot be used is refused by its lines, and nothing of it stays', async () => {
  expect(await command('create', file('wrong.jsonl'))).toMatchObject({
    code: 1,
    stderr:
      'oriel: The dataset wrong cannot be used. line 2: messages has 0 messages; 2 to 1000 are allowed. line 3: messages is 1; it must be a list.\n',
  })
  writeFileSync(
    file('outside.jsonl'),
    jsonl([{ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: '/etc/passwd' }] }] }]),
  )
  expect((await command('create', file('outside.jsonl'))).stderr).toBe(
    'oriel: line 1: messages[0].content[0].image_url is "/etc/passwd"; pictures must be below the folder of the dataset.\n',
  )
  expect((await command('list', '--json')).stdout).toBe('{\n  "datasets": []\n}\n')
})

it.skipIf(process.platform === 'win32')('Ctrl-C leaves nothing of a dataset, there or here', async () => {
  const temporary = file('temporary')
  mkdirSync(temporary)
  const lines = Array.from({ length: 2000 }, (_, at) => textExample(`What is ${at}? ${'Say it. '.repeat(400)}`))
  writeFileSync(file('long.jsonl'), jsonl(lines))
  const env = environment({ ORIEL_PORT: new URL(server.url).port, ORIEL_HOST: '127.0.0.1', TMPDIR: temporary })
  for (const [args, hasBegun] of [
    [['create'], async () => (await command('list')).stdout.includes('long.jsonl')],
    [['validate', '--base', 'pocket'], async () => readdirSync(temporary).some((name) => /oriel-examine/.test(name))],
  ] as const) {
    const child = spawn(process.execPath, [`${root}bin/oriel.js`, 'dataset', ...args, file('long.jsonl')], { env })
    const ended = once(child, 'close')
    await vi.waitFor(async () => expect(await hasBegun()).toBe(true), { ...patient, interval: 5 })
    child.kill('SIGINT')
    expect((await ended)[0], args[0]).toBe(130)
  }
  expect((await command('list', '--json')).stdout).toBe('{\n  "datasets": []\n}\n')
  expect(readdirSync(temporary).filter((name) => /oriel-examine/.test(name))).toEqual([])
})
