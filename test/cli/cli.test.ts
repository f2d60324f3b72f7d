import type { ChildProcess } from 'node:child_process'
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { oriel, orielHere, orielServe, root, run } from '../support/cli.ts'
import { eventsOf, postJson } from '../support/http.ts'
import { shortRun } from '../support/long.ts'
import { pocketFolder } from '../support/pocket.ts'

const running: ChildProcess[] = []
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL')
})

async function serve(...args: string[]) {
  const server = await orielServe(args)
  running.push(server.child)
  return server
}

const exit = (child: ChildProcess) => new Promise<number | null>((resolve) => child.once('exit', resolve))

describe('oriel serve', () => {
  let first: Awaited<ReturnType<typeof orielServe>>
  beforeAll(async () => {
    first = await orielServe([])
  })
  afterAll(() => first.child.kill('SIGKILL'))

  it('prints a curl that gets a correct answer', async () => {
    const { out } = first
    const curl = out.split('\n').find((line) => line.startsWith('curl ')) ?? ''
    const { stdout } = await run('bash', ['-c', `${curl} --silent`])
    expect(JSON.parse(stdout).choices[0].message.content).toBe('A red circle on a white background.')
  })

  it('ends its streams on SIGINT and SIGTERM without waiting for their answers, and exits with 0', async () => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const { child, url } = signal === 'SIGINT' ? first : await serve()
      const ended = exit(child)
      const response = await postJson(`${url}/v1/chat/completions`, {
        model: 'pocket',
        stream: true,
        ignore_eos: true,
        max_tokens: 4000,
        messages: [{ role: 'user', content: 'Hello' }],
      })
      child.kill(signal)
      const text = await response.text()
      expect(await ended).toBe(0)
      expect(text).toMatch(/data: \[DONE\]\n\n$/)
      expect(eventsOf(text).length).toBeLessThan(4000)
      expect(eventsOf(text).at(-1)).toMatchObject({ error: { type: 'server_error' } })
    }
  })

  it.skipIf(shortRun)(
    'loads several models as far as the memory allows, and refuses to start if one never fits',
    async () => {
      const folder = await mkdtemp(path.join(tmpdir(), 'oriel-cli-'))
      const other = path.join(folder, 'other.gguf')
      await copyFile(`${pocketFolder}pocket.gguf`, other)
      const { out, url } = await serve('--memory-budget', '4GB', '--gpu', 'off', '--model', 'pocket', '--model', other)
      expect(out).toMatch(/^Oriel serves pocket, other at http/)
      const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string; state: string }[] }
      expect(data.filter(({ state }) => state === 'loaded').map(({ id }) => id)).toEqual(['pocket', 'other'])
      const { out: inTurn } = await serve(
        '--memory-budget',
        '300MB',
        '--gpu',
        'off',
        '--model',
        'pocket',
        '--model',
        other,
      )
      expect(inTurn).toMatch(/^Oriel serves pocket, other at http/)
      await rm(folder, { recursive: true })
      expect(await orielHere(['serve', '--memory-budget', '100 MB'], {})).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(
          /^oriel: The model pocket never fits: it takes 2\d\d MB .* may take 100 MB\. .* --memory-budget\.\n$/,
        ),
      })
      expect(await orielHere(['serve', '--memory-budget', 'plenty'], {})).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('must be like 8GB or 500MB'),
      })
    },
  )

  it('reports an error in one line with advice, and exits with 1', async () => {
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const { port } = taken.address() as AddressInfo
    expect(await oriel(['serve', '--port', String(port)])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^oriel: Port \d+ is in use\. .* --port\.\n$/),
    })
    taken.close()
    expect(await orielHere(['serve', '--model', 'gpt-5'], {})).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^oriel: There is no model gpt-5\. The models are: pocket.*\. `oriel list` shows .*\n$/,
      ),
    })
    expect(await orielHere(['serve', '--port', 'eighty'], {})).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('A port is a whole number'),
    })
    expect(await orielHere(['serve', '--insecure', '--host', '203.0.113.7'], {})).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('is not an address of this machine. Choose another address with --host.'),
    })
    expect(await orielHere(['serve'], { ORIEL_CHUNK: '0', ORIEL_KV_TYPE: 'f8' })).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^oriel: A setting is not allowed\. .*ORIEL_CHUNK: must be.*\n$/),
    })
  })
})

describe('oriel ask', () => {
  it('answers about an image without a server', async () => {
    expect(await oriel(['ask', 'examples/sample.png', 'What is in this image?'])).toEqual({
      code: 0,
      stdout: 'A red circle on a white background.\n',
      stderr: '',
    })
  })

  it('accepts a local file of any size', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'oriel-ask-'))
    const image = await readFile(`${root}examples/sample.png`)
    // In a request, 10 MB of base64 are allowed.
    await writeFile(path.join(folder, 'large.png'), Buffer.concat([image, Buffer.alloc(12_000_000)]))
    expect(await oriel(['ask', path.join(folder, 'large.png'), 'What is in this image?'])).toEqual({
      code: 0,
      stdout: 'A red circle on a white background.\n',
      stderr: '',
    })
    await rm(folder, { recursive: true })
  })

  it('reports a missing question if every word is an image and there is no terminal to chat at', async () => {
    for (const words of [['examples/sample.png'], ['examples/sample.png', 'https://example.com/red.png']])
      expect(await oriel(['ask', ...words])).toEqual({
        code: 1,
        stdout: '',
        stderr: `oriel: The question is missing: oriel ask ${words.join(' ')} "What is in this image?"\n`,
      })
  })

  it.skipIf(shortRun)(
    'asks in parts about more images than the settings or --batch allow in one question',
    async () => {
      const image = 'examples/sample.png'
      const inParts = new RegExp(`^${image}; ${image}:\n[^]+\n${image}:\n[^]+\nIn all:\n[^]+\n$`)
      const images = [image, image, image]
      const settings = await oriel(['ask', ...images, 'What?'], { env: { ORIEL_MAX_IMAGES: '2' } })
      expect(settings).toMatchObject({ code: 0, stdout: expect.stringMatching(inParts) })
      expect((await oriel(['ask', '--batch', '2', ...images, 'What?'])).stdout).toMatch(inParts)
    },
  )

  it('names the image that it cannot read', async () => {
    expect(await oriel(['ask', 'nothing.png', 'What?'])).toMatchObject({
      code: 1,
      stderr: 'oriel: There is no file nothing.png.\n',
    })
    expect(await oriel(['ask', 'examples/sample.png', 'package.json', 'What?'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^oriel: package\.json: The image cannot be decoded/),
    })
  })
})

describe('oriel list', () => {
  it('exits silently when its pipe is closed', async () => {
    const { stdout, stderr } = await run('bash', [
      '-c',
      `'${process.execPath}' bin/oriel.js list | true; echo $PIPESTATUS`,
    ])
    expect({ stdout, stderr }).toEqual({ stdout: '141\n', stderr: '' })
  })

  it('prints the available models as a table', async () => {
    expect((await orielHere(['list'], {})).stdout).toMatch(
      /^NAME +TITLE +TAKES +CONTEXT +SIZE +FITS +AN IMAGE TAKES\npocket +Pocket +text, images +4,096 tokens +\d+\.\d MB +yes +\S.* s\n$/,
    )
  })
})
