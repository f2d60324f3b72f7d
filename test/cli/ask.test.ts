import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { oriel, orielHere, root } from '../support/cli.ts'
import { shape } from '../support/images.ts'
import { inputs, shortRun } from '../support/long.ts'
import { startServer, type TestServer } from '../support/server.ts'

const sample = 'examples/sample.png'
const question = 'What is in this image?'
const red = 'A red circle on a white background.'

let folder: string
let server: TestServer
/** The environment in which a command finds the server. */
let beside: { ORIEL_PORT: string }
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'oriel-ask-'))
  await copyFile(`${root}${sample}`, path.join(folder, 'a.png'))
  await writeFile(path.join(folder, 'b.png'), 'no image')
  await writeFile(path.join(folder, 'c.png'), await shape('blue'))
  server = await startServer()
  beside = { ORIEL_PORT: new URL(server.url).port }
})
afterAll(async () => {
  await server.close()
  await rm(folder, { recursive: true })
})

describe('oriel ask', () => {
  it('reads the image or the question from stdin', async () => {
    const input = await readFile(`${root}${sample}`)
    expect((await oriel(['ask', '-', question], { input, env: beside })).stdout).toBe(`${red}\n`)
    expect((await oriel(['ask', sample], { input: `${question}\n`, env: beside })).stdout).toBe(`${red}\n`)
  })

  it('answers as JSON that follows a schema', async () => {
    const schema = path.join(folder, 'schema.json')
    const properties = { colour: { enum: ['red', 'blue'] } }
    await writeFile(schema, JSON.stringify({ type: 'object', properties, required: ['colour'] }))
    const { stdout } = await oriel(['ask', '--json', '--schema', schema, sample, question])
    const answer = JSON.parse(stdout)
    expect(answer).toMatchObject({ model: 'pocket', finish_reason: 'stop', usage: { image_tokens: [72] } })
    expect(['red', 'blue']).toContain(answer.value.colour)
    expect(answer.timings.total_ms).toBeGreaterThanOrEqual(answer.timings.first_text_ms)
    await writeFile(schema, 'no JSON')
    expect((await oriel(['ask', '--schema', schema, sample, question])).stderr).toMatch(
      /^oriel: The schema .* is not a JSON object\.\n$/,
    )
  })

  it('writes nothing into the home folder, and reports to nobody', async () => {
    const home = await mkdtemp(path.join(tmpdir(), 'oriel-home-'))
    const env = { HOME: home, USERPROFILE: home, XDG_CACHE_HOME: path.join(home, 'cache') }
    expect((await oriel(['ask', sample, question], { env })).stdout).toBe(`${red}\n`)
    expect(await readdir(home)).toEqual([])
    await rm(home, { recursive: true })
  })
})

describe.each(inputs(['in its own process'], ['in its own process', 'with a server']))('oriel ask %s', (where) => {
  const ask = (...args: string[]) =>
    oriel(['ask', ...args], { env: where === 'with a server' ? beside : {}, cwd: folder })

  it('answers', async () => {
    expect(await ask('a.png', question)).toEqual({ code: 0, stdout: `${red}\n`, stderr: '' })
  })

  it('asks about each image by itself, and goes on after one that fails', async () => {
    expect(await ask('--each', '.', question)).toEqual({
      code: 1,
      stdout: `a.png: ${red}\nc.png: A blue circle on a white background.\n`,
      stderr: expect.stringMatching(
        /^b\.png: The image cannot be decoded: .*\noriel: 1 of 3 files could not be asked about\.\n$/,
      ),
    })
    const { stdout } = await ask('--each', '--json', '*.png', question)
    const lines = stdout.trim().split('\n')
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { file: 'a.png', text: red },
      { file: 'b.png', error: { code: 'unsupported_image' } },
      { file: 'c.png', text: 'A blue circle on a white background.' },
    ])
  })

  it('reads images at the resolution that --detail names', async () => {
    const { stdout } = await ask('--json', '--detail', 'low', '--temperature', '0', 'a.png', question)
    expect(JSON.parse(stdout)).toMatchObject({ finish_reason: 'stop', usage: { image_tokens: [72] } })
  })

  it('asks in parts about a long document', async () => {
    const { stdout } = await ask('--batch', '1', `${root}examples/sample.pdf`, question)
    expect(stdout).toMatch(/, page 1:\nA red circle.*\n.*, page 2:\nA blue square.*\nIn all:\n/)
  })
})

describe('a running server', () => {
  it.skipIf(shortRun)('is asked unless a flag or the model forbids it', async () => {
    const asks = async (...args: string[]) => {
      const before = await answered()
      expect((await oriel(['ask', ...args, sample, question], { env: beside })).stdout).toBe(`${red}\n`)
      return (await answered()) - before
    }
    expect(await asks()).toBe(1)
    expect(await asks('--model', 'oriel/pocket')).toBe(1)
    expect(await asks('--local')).toBe(0)
    expect(await asks('--gpu', 'off')).toBe(0)
    expect(await asks('--model', 'models/pocket/pocket.gguf')).toBe(0)
  })

  it('shows the models that it has loaded, and unloads one', async () => {
    const command = (...args: string[]) => orielHere(args, beside)
    await oriel(['ask', sample, question], { env: beside })
    expect((await command('ps')).stdout).toMatch(
      /^NAME +STATE +MEMORY +REQUESTS\npocket +loaded +\d\S* [MG]B +idle for \d+ s\n.* of .* are taken\.\n$/,
    )
    expect((await command('complete', 'oriel stop p')).stdout).toBe('pocket\n')
    expect((await command('stop', 'oriel/pocket')).stdout).toBe('pocket was unloaded.\n')
    expect(JSON.parse((await command('ps', '--json')).stdout)).toMatchObject({ models: [] })
    expect(await command('stop', 'pocket')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('The model "pocket" is not loaded.'),
    })
    expect((await orielHere(['ps', '--server', '127.0.0.1:9'], {})).stderr).toMatch(/^oriel: No server answers at /)
  })

  it('may be named by its URL', async () => {
    expect((await oriel(['ask', '--server', server.url, sample, question])).stdout).toBe(`${red}\n`)
    const { host } = new URL(server.url)
    expect((await orielHere(['ask', '--server', host, '--model', 'gpt-5', sample, question], {})).stderr).toMatch(
      /^oriel: The server at http:\S+ has no model gpt-5\. Its models are: pocket\.\n$/,
    )
    expect((await orielHere(['ask', '--server', '127.0.0.1:9', sample, question], {})).stderr).toBe(
      'oriel: No server answers at http://127.0.0.1:9. Start one with `oriel serve`, or name another with --server.\n',
    )
  })

  it('is another program: it is left alone', async () => {
    const other = createServer((_, response) => response.end('{"data":[{"id":"pocket"}]}'))
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const { port } = other.address() as AddressInfo
    const env = { ORIEL_PORT: String(port) }
    expect((await oriel(['ask', sample, question], { env })).stdout).toBe(`${red}\n`)
    expect((await orielHere(['ask', '--server', `127.0.0.1:${port}`, sample, question], {})).stderr).toBe(
      `oriel: http://127.0.0.1:${port} is not a server of Oriel.\n`,
    )
    other.close()
  })

  const answered = async (): Promise<number> => {
    const text = await (await fetch(`${server.url}/metrics`)).text()
    return Number(/^oriel_http_response_seconds_count\{[^}]*chat\/completions[^}]*\} (\d+)$/m.exec(text)?.[1] ?? 0)
  }
})
