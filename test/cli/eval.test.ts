import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chooseAnswerers } from '../../src/cli/answerer.ts'
import { OrielError } from '../../src/errors.ts'
import { orielHere, root } from '../support/cli.ts'
import { jsonl, pictureExample, textExample } from '../support/examples.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { type ScriptedUpstream, scriptedUpstream } from '../upstreams/scripted.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-cli-eval-'))
const models = path.join(folder, 'models')
const data = path.join(folder, 'data.jsonl')
const config = path.join(folder, 'oriel.toml')
const env = { ORIEL_MODELS_DIR: models, XDG_CACHE_HOME: path.join(folder, 'cache'), ORIEL_CONFIG: config }
const picture = readFileSync(`${root}examples/sample.png`)
const question = 'What is in this image?'

let upstream: ScriptedUpstream
let server: TestServer

beforeAll(async () => {
  const trained = fileURLToPath(new URL('../pocket/adapters', import.meta.url))
  cpSync(trained, path.join(models, 'adapters'), { recursive: true })
  writeFileSync(path.join(folder, 'sample.png'), picture)
  const asked = [
    { type: 'image_url', image_url: 'sample.png' },
    { type: 'text', text: question },
  ]
  writeFileSync(
    data,
    jsonl([
      {
        messages: [
          { role: 'user', content: asked },
          { role: 'assistant', content: 'A RED CIRCLE.' },
        ],
      },
      pictureExample(picture, question, '{"answer": "A red circle"}'),
      pictureExample(picture, 'What colour is the circle?', 'Red'),
      { messages: [{ role: 'user', content: 'Hello' }] },
    ]),
  )
  upstream = await scriptedUpstream('One', ['far'])
  writeFileSync(config, `[[upstreams]]\nname = "one"\nurl = "${upstream.url}"\napi = "vllm"\n`)
  server = await startServer({ models: { dirs: [models] } })
})
afterAll(async () => {
  await server.close()
  await upstream.close()
  rmSync(folder, { recursive: true })
})

const evaluated = (args: readonly string[], more: Readonly<Record<string, string>> = {}) =>
  orielHere(['eval', data, ...args], { ...env, ...more })

describe('oriel eval', () => {
  it('waits for no model that loads after Ctrl-C', async () => {
    const reason = new OrielError('cancelled', 'Stopped.', { code: 'interrupted' })
    const chosen = chooseAnswerers({ local: true }, ['pocket'], AbortSignal.abort(reason))
    await expect(chosen).rejects.toBe(reason)
  })

  it('compares what models answer with what is wanted, side by side', async () => {
    const { stdout, stderr, code } = await evaluated([
      ...['--model', 'pocket', '--model', 'pocket#upper', '--model', 'json'],
      ...['--score', 'exact', '--score', 'contains'],
    ])
    expect(stdout).toBe(`4 examples

MODEL          exact  contains  ANSWERS  FAILED
pocket         0.0 %    33.3 %        3       0
pocket#upper  33.3 %    66.7 %        3       0
json          33.3 %    66.7 %        3       0

2 examples on which they differ:
line 1, wanted "A RED CIRCLE."
  ✗✗ pocket        "A red circle on a white background."
  ✓✓ pocket#upper  "A RED CIRCLE."
  ✗✗ json          "{\\"answer\\": \\"A red circle\\"}"
line 2, wanted "{\\"answer\\": \\"A red circle\\"}"
  ✗✗ pocket        "A red circle on a white background."
  ✗✗ pocket#upper  "A RED CIRCLE."
  ✓✓ json          "{\\"answer\\": \\"A red circle\\"}"

Failed:
line 4: messages[0].role is user; the last message must be of the assistant, which is learned.
`)
    expect([code, stderr]).toEqual([1, 'oriel: 1 answer could not be had or compared.\n'])
  })

  it('asks a server and an upstream, and prints JSON for programs', async () => {
    writeFileSync(data, jsonl([textExample('Hello', 'One has far'), textExample('Hi', 'No')]))
    const { port } = new URL(server.url)
    const { stdout, code } = await evaluated(['--model', 'upper', '--model', 'far', '--json'], { ORIEL_PORT: port })
    const [first, second, sums] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(first).toEqual({
      line: 1,
      wanted: 'One has far',
      answers: [
        { model: 'upper', text: expect.any(String), right: { exact: false } },
        { model: 'far', text: 'One has far', right: { exact: true } },
      ],
      differ: true,
    })
    expect(second).toMatchObject({ line: 2, differ: false })
    expect(sums).toEqual({
      summary: {
        examples: 2,
        unusable: 0,
        differ: 1,
        models: [
          { model: 'upper', answered: 2, failed: 0, right: { exact: 0 } },
          { model: 'far', answered: 2, failed: 0, right: { exact: 1 } },
        ],
      },
    })
    expect(code).toBe(0)
  })

  it('says what is wrong before anybody is asked', async () => {
    const said = async (...args: string[]) => (await evaluated(args)).stderr
    expect(await said('--model', 'nothing')).toContain('"nothing" was not found.')
    expect(await said('--model', 'pocket', '--score', 'bleu')).toContain(
      '"bleu" is no score. There are exact, contains, json-field:NAME and judge:MODEL.',
    )
    expect((await orielHere(['eval', 'missing.jsonl', '--model', 'pocket'], env)).stderr).toContain(
      'There is no file missing.jsonl.',
    )
  })
})
