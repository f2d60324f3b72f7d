import { copyFile, mkdir, mkdtemp, readFile, rm, stat, symlink, truncate, utimes, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { OrielSettings } from '../../src/app.ts'
import { secretVariables } from '../../src/secrets.ts'
import { decoderOf } from '../encoders/oracle/decoder.ts'
import { idefics3 } from '../encoders/oracle/families/idefics3.ts'
import { type Value, writeGguf } from '../support/gguf-file.ts'
import { postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { pocketFolder } from '../support/pocket.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

/** The folder of small random models. Each takes about 250 MB, most of it for its process and a cache. */
let folder: string
const servers: TestServer[] = []

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'oriel-loading-'))
  for (const name of ['one', 'two']) await pair(name)
})
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close()
})
afterAll(() => rm(folder, { recursive: true }))

async function pair(name: string): Promise<void> {
  await mkdir(path.join(folder, name))
  idefics3.write(path.join(folder, name, `${name}.gguf`), path.join(folder, name, `mmproj-${name}.gguf`))
}

/** Memory for one model. */
const forOne = 500e6

async function serve(loading: NonNullable<OrielSettings['loading']> = {}, model: string[] = []): Promise<TestServer> {
  const models = { dirs: [folder], hub: { cache: path.join(folder, 'hub') } }
  const server = await startServer({ model, models, loading: { memoryBytes: 5e9, ...loading } })
  servers.push(server)
  return server
}

const post = (server: TestServer, model: string, more: object = {}, signal?: AbortSignal) =>
  postJson(
    `${server.url}/v1/chat/completions`,
    { model, max_tokens: 3, messages: [{ role: 'user', content: 'Hello' }], ...more },
    { signal: signal ?? null },
  )

/** Begins an answer that runs until `end` is called. */
async function streaming(server: TestServer, model: string): Promise<{ end(): void; text: Promise<string> }> {
  const stop = new AbortController()
  const response = await post(server, model, { stream: true, ignore_eos: true, max_tokens: 8000 }, stop.signal)
  expect(response.status).toBe(200)
  const text = response.text().catch(() => '')
  return { end: () => stop.abort(), text }
}

const listed = async (server: TestServer, query = '') => {
  const { data } = (await (await fetch(`${server.url}/v1/models${query}`)).json()) as {
    data: { id: string; state: string; features: string[]; error?: string }[]
  }
  return data
}
const stateOf = async (server: TestServer, id: string) => (await listed(server)).find((model) => model.id === id)?.state
const errorOf = async (response: Response) =>
  ((await response.json()) as { error: { message: string; code: string } }).error

describe('a model that a request names', () => {
  it('is loaded once for all requests that wait for it, beside other models', async () => {
    const server = await serve()
    expect([await stateOf(server, 'one'), server.engines().length]).toEqual(['available', 0])
    const asked = await Promise.all(['one', 'one', 'one', 'two', 'one', 'two'].map((model) => post(server, model)))
    expect(asked.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200])
    expect([await stateOf(server, 'one'), await stateOf(server, 'two'), server.engines().length]).toEqual([
      'loaded',
      'loaded',
      2,
    ])
    const url = dataUrl(await shape('red'))
    const withImage = await post(server, 'accounts/any/models/two', {
      messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }],
    })
    expect(withImage.status).toBe(200)
    await vi.waitFor(
      async () =>
        expect(await (await fetch(`${server.url}/health`)).json()).toMatchObject({
          status: 'ok',
          engines: expect.arrayContaining([
            expect.objectContaining({ model: 'one', status: 'ok', running: 0, waiting: 0 }),
          ]),
          memory: { budget_bytes: 5e9 },
        }),
      patient,
    )
    const metrics = await (await fetch(`${server.url}/metrics`)).text()
    for (const model of ['one', 'two']) expect(metrics).toContain(`oriel_engine_running_sequences{model="${model}"} 0`)
    expect(metrics).toMatch(/oriel_models_taken_bytes [1-9]\d{8}/)
    // Tokens are counted under the id of the model, not under the name in the request.
    expect(metrics).toContain('oriel_image_prompt_tokens_total{model="two"} 33')
    expect(metrics).not.toContain('accounts/any')
  })

  it('is listed with its state, and can be filtered by vision', async () => {
    const server = await serve()
    const loading = post(server, 'one')
    const engine = await server.halted()
    expect(await stateOf(server, 'one')).toBe('loading')
    expect(await (await fetch(`${server.url}/v1/models/one`)).json()).toMatchObject({
      state: 'loading',
      progress: expect.any(Number),
      context_length: 8192,
    })
    engine.goOn()
    expect((await loading).status).toBe(200)
    expect(await stateOf(server, 'pocket')).toBe('available')
    const ids = (list: { id: string }[]) => list.map(({ id }) => id)
    expect(ids(await listed(server))).not.toContain('smolvlm-500m')
    for (const query of ['?state=all', '?state=not_pulled'])
      expect((await listed(server, query)).find(({ id }) => id === 'smolvlm-500m')?.state).toBe('not_pulled')
    expect(ids(await listed(server, '?state=loaded'))).toEqual(['one'])
    await copyFile(`${pocketFolder}pocket.gguf`, path.join(folder, 'blind.gguf'))
    const vision = ids(await listed(server, '?features=vision'))
    expect(vision).toEqual(expect.arrayContaining(['one', 'two', 'pocket']))
    expect(vision).not.toContain('blind')
    expect(ids(await listed(server))).toContain('blind')
    expect(ids(await listed(server, '?filter=Vision'))).toEqual(vision)
    await rm(path.join(folder, 'blind.gguf'))
  })

  it.runIf(process.platform === 'linux')('runs in a process that has no tokens, keys and passwords', async () => {
    for (const name of secretVariables()) vi.stubEnv(name, `secret of ${name}`)
    try {
      const server = await serve()
      expect((await post(server, 'one')).status).toBe(200)
      const environment = await readFile(`/proc/${server.engines()[0]}/environ`, 'utf8')
      expect(environment).toContain('UV_THREADPOOL_SIZE=1')
      expect(environment).not.toContain('secret of')
    } finally {
      vi.unstubAllEnvs()
    }
  })

  it('is not loaded for a request whose attachments are refused, and nothing is fetched', async () => {
    const server = await serve()
    const asked: (string | undefined)[] = []
    const host = createServer(({ url }, response) => {
      asked.push(url)
      response.end()
    })
    await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve))
    try {
      const url = `http://127.0.0.1:${(host.address() as AddressInfo).port}/image.png`
      const image = { type: 'image_url', image_url: { url } }
      for (const [content, code] of [
        [[image, { type: 'image_url', image_url: { url: 'ftp://127.0.0.1/image.png' } }], 'invalid_image_url'],
        [Array.from({ length: 31 }, () => image), 'too_many_images'],
      ] as const) {
        const refused = await post(server, 'one', { messages: [{ role: 'user', content }] })
        expect([refused.status, (await errorOf(refused)).code]).toEqual([400, code])
      }
      expect([server.engines(), asked]).toEqual([[], []])
    } finally {
      host.close()
    }
  })

  it('loads while the images of the request are fetched', async () => {
    const server = await serve()
    const image = await shape('red')
    const states: (string | undefined)[] = []
    const halted = server.halted()
    const host = createServer(async (_, response) => {
      const engine = await halted
      states.push(await stateOf(server, 'one'))
      response.setHeader('content-type', 'image/png').setHeader('cache-control', 'no-store').end(image)
      engine.goOn()
    })
    await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve))
    try {
      const url = `http://127.0.0.1:${(host.address() as AddressInfo).port}/image.png`
      const content = [{ type: 'image_url', image_url: { url } }]
      const answered = await post(server, 'one', { messages: [{ role: 'user', content }] })
      expect([answered.status, states]).toEqual([200, ['loading']])
    } finally {
      host.close()
    }
  })

  it('is found when its files are added while the server runs', async () => {
    const server = await serve()
    expect((await post(server, 'late')).status).toBe(404)
    await pair('late')
    expect((await post(server, 'late')).status).toBe(200)
    await rm(path.join(folder, 'late'), { recursive: true })
  })

  it('is loaded from the parts of a split file', async () => {
    const { metadata, tensors } = decoderOf({ specials: [] })
    const parts = [tensors.slice(0, 5), tensors.slice(5)]
    for (const [no, some] of parts.entries()) {
      const split: Record<string, Value> = {
        'split.no': { u16: no },
        'split.count': { u16: parts.length },
        'split.tensors.count': { i32: tensors.length },
      }
      const file = path.join(folder, `split-0000${no + 1}-of-0000${parts.length}.gguf`)
      writeGguf(file, no === 0 ? { ...metadata, ...split } : split, some, no + 1)
    }
    const server = await serve()
    expect((await post(server, 'split')).status).toBe(200)
  })

  it('is refused with its pull command if only the catalogue has it, and is found under all of its names', async () => {
    const server = await serve()
    const hosted = 'accounts/fireworks/models/qwen2p5-vl-32b-instruct'
    const absent = await post(server, hosted)
    expect([absent.status, (await errorOf(absent)).message]).toEqual([
      404,
      expect.stringContaining('has not been downloaded to this server'),
    ])
    const unknown = await post(server, 'gpt-5')
    expect([unknown.status, (await errorOf(unknown)).message]).toEqual([
      404,
      expect.stringMatching(/The models are: .*one/),
    ])

    const snapshot = `hub/models--ggml-org--Qwen2.5-VL-32B-Instruct-GGUF/snapshots/${'a'.repeat(40)}`
    await mkdir(path.join(folder, snapshot), { recursive: true })
    for (const [from, to] of [
      ['one.gguf', 'Qwen-Q8_0.gguf'],
      ['mmproj-one.gguf', 'mmproj-Qwen-F16.gguf'],
    ] as const)
      await copyFile(path.join(folder, 'one', from), path.join(folder, snapshot, to))
    for (const name of [hosted, 'qwen2.5-vl-32b', 'ggml-org/Qwen2.5-VL-32B-Instruct-GGUF:Q8_0'])
      expect((await post(server, name)).status, name).toBe(200)
    expect(server.engines().length).toBe(1)
    await rm(path.join(folder, 'hub'), { recursive: true })
  })

  it('is never looked up as a path', async () => {
    const server = await serve()
    const reached = await post(server, path.join(folder, 'one', 'one.gguf'))
    expect([reached.status, (await errorOf(reached)).code]).toEqual([404, 'model_not_found'])
  })
})

describe('within a memory budget,', () => {
  it('an idle model is evicted for another', async () => {
    const server = await serve({ memoryBytes: forOne })
    for (const model of ['one', 'two', 'one']) {
      expect((await post(server, model)).status).toBe(200)
      expect(await stateOf(server, model)).toBe('loaded')
      expect(server.engines().length).toBe(1)
    }
  })

  it('a request for another model waits until the busy model is idle', async () => {
    const server = await serve({ memoryBytes: forOne })
    const busy = await streaming(server, 'one')
    let answered = false
    const waiting = post(server, 'two').then((response) => {
      answered = true
      return response.status
    })
    await vi.waitFor(async () => expect(await stateOf(server, 'two')).toBe('loading'), patient)
    expect([answered, await stateOf(server, 'one'), await stateOf(server, 'two')]).toEqual([false, 'loaded', 'loading'])
    // A later request for the busy model waits until the other has been loaded.
    const behind = post(server, 'one')
    busy.end()
    expect(await waiting).toBe(200)
    expect((await behind).status).toBe(200)
  })

  it('a request that waits too long gets 503, naming the busy models', async () => {
    const server = await serve({ memoryBytes: forOne, timeoutMs: 700 })
    while ((await post(server, 'one')).status !== 200);
    const busy = await streaming(server, 'one')
    const refused = await post(server, 'two')
    expect([refused.status, refused.headers.get('retry-after'), await errorOf(refused)]).toMatchObject([
      503,
      '10',
      {
        message: 'The model two waited 0.7 s for memory while requests ran in one.',
        code: 'model_loading',
      },
    ])
    // The busy model accepts requests again.
    expect((await post(server, 'one')).status).toBe(200)
    busy.end()
  })

  it('a load continues after the requests for it have timed out', async () => {
    const server = await serve({ timeoutMs: 20 })
    const refused = await post(server, 'one')
    expect([refused.status, (await errorOf(refused)).message]).toEqual([
      503,
      expect.stringMatching(/^The model one is still loading \(\d+ %\) after 0\.02 s\. The load continues/),
    ])
    await vi.waitFor(async () => expect(await stateOf(server, 'one')).toBe('loaded'), patient)
    expect((await post(server, 'one')).status).toBe(200)
  })

  it('a model that can never fit is refused with the numbers', async () => {
    const server = await serve({ memoryBytes: 200e6 })
    const refused = await post(server, 'one')
    expect([refused.status, await errorOf(refused)]).toMatchObject([
      412,
      { message: expect.stringMatching(/never fits: it takes 25\d MB .* may take 200 MB/), code: 'model_too_large' },
    ])
  })

  it('an unused model is unloaded after loading.keepLoadedMs', async () => {
    const server = await serve({ keepLoadedMs: 300 })
    expect((await post(server, 'one')).status).toBe(200)
    await vi.waitFor(async () => expect(await stateOf(server, 'one')).toBe('available'), patient)
    expect(server.engines()).toEqual([])
    expect((await post(server, 'one')).status).toBe(200)
  })
})

describe('a failure', () => {
  it('of a load is reported to all its requests without a path, and the load is not repeated at once', async () => {
    const server = await serve()
    // The header is valid, but a layer is missing.
    writeGguf(
      path.join(folder, 'broken.gguf'),
      {
        'general.architecture': { string: 'llama' },
        'llama.block_count': { u32: 1 },
        'llama.embedding_length': { u32: 64 },
        'llama.context_length': { u32: 128 },
        'llama.attention.head_count': { u32: 1 },
        'tokenizer.ggml.model': { string: 'no_vocab' },
      },
      [{ name: 'blk.0.weight', shape: [64, 4], fill: { deviation: 0.1 } }],
      1,
    )
    const refused = await Promise.all([post(server, 'broken'), post(server, 'broken')])
    for (const response of refused) {
      const { message, code } = await errorOf(response)
      expect([response.status, code]).toEqual([412, 'model_not_loaded'])
      expect(message).toMatch(/^The model broken could not be loaded: The model file could not be loaded/)
      expect(message).not.toContain(folder)
    }
    const before = server.engines()
    expect((await post(server, 'broken')).status).toBe(412)
    // The one that failed may still be ending.
    expect(before).toEqual(expect.arrayContaining(server.engines()))
    expect((await listed(server)).find(({ id }) => id === 'broken')).toMatchObject({
      state: 'failed',
      error: expect.stringContaining('could not be loaded'),
    })
    // A changed file is loaded again.
    await copyFile(path.join(folder, 'one', 'one.gguf'), path.join(folder, 'broken.gguf'))
    const { mtimeMs } = await stat(path.join(folder, 'broken.gguf'))
    await utimes(path.join(folder, 'broken.gguf'), mtimeMs / 1000 + 5, mtimeMs / 1000 + 5)
    expect((await post(server, 'broken')).status).toBe(200)
    await rm(path.join(folder, 'broken.gguf'))
  })

  it('because of missing or invalid files is reported without a path', async () => {
    const server = await serve()
    await symlink(path.join(folder, 'nowhere'), path.join(folder, 'gone.gguf'))
    await writeFile(path.join(folder, 'text.gguf'), 'This is no model.')
    await copyFile(path.join(folder, 'one', 'mmproj-one.gguf'), path.join(folder, 'sight.gguf'))
    for (const [name, why] of [
      ['gone', 'Some of its files are missing.'],
      ['text', 'text.gguf is not a valid GGUF file'],
      ['sight', 'sight.gguf is a vision file (mmproj), not a model.'],
    ] as const) {
      const reports = [
        await (await post(server, name)).text(),
        await (await fetch(`${server.url}/v1/models/${name}`)).text(),
      ]
      for (const text of reports) {
        expect(text).toContain(why)
        expect(text).not.toContain(folder)
      }
      const refused = await post(server, name)
      expect([refused.status, (await errorOf(refused)).code]).toEqual([412, 'model_not_loaded'])
      expect(await stateOf(server, name)).toBe('failed')
      await rm(path.join(folder, `${name}.gguf`))
    }
  })

  it('of one engine does not affect another', async () => {
    const server = await serve()
    expect((await post(server, 'one')).status).toBe(200)
    const [first] = server.engines()
    const busy = await streaming(server, 'two')
    process.kill(first ?? 0, 'SIGKILL')
    // The engine is restarting until then.
    while ((await post(server, 'one')).status !== 200);
    expect(server.engines()).not.toContain(first)
    busy.end()
    expect(await busy.text).not.toContain('error')
  })
})

describe('a loaded model whose files change', () => {
  const file = (name: string) => path.join(folder, 'harmed', name)
  beforeEach(() => pair('harmed'))
  afterEach(() => rm(path.join(folder, 'harmed'), { recursive: true }))

  /** A server that has loaded the model. @param byPath whether it was named by the path of its file */
  async function loaded(byPath = false) {
    const server = await serve({}, byPath ? [file('harmed.gguf')] : [])
    expect((await post(server, 'harmed')).status).toBe(200)
    /** Its engine dies, as of a read behind the end of a mapped file. */
    const die = () => {
      for (const pid of server.engines()) process.kill(pid, 'SIGBUS')
    }
    const lines = async () => (await listed(server)).filter(({ id }) => id === 'harmed')
    return { server, die, lines }
  }
  /** The answer when the death of the engine has been noticed. */
  async function answerAfter(server: TestServer): Promise<Response> {
    await vi.waitFor(() => expect(server.engines()).toEqual([]), patient)
    for (;;) {
      const answer = await post(server, 'harmed')
      if (answer.status !== 503) return answer
      expect(answer.headers.get('retry-after')).toBe('1')
    }
  }

  it.for([false, true])(
    'by path: %s; is reported as damaged at once, and loads again when it is whole',
    async (byPath) => {
      const whole = await readFile(file('harmed.gguf'))
      const { server, die, lines } = await loaded(byPath)
      // Another file in its place: what is mapped stays whole until the process dies.
      await rm(file('harmed.gguf'))
      await writeFile(file('harmed.gguf'), whole.subarray(0, 1000))
      expect(await lines()).toMatchObject([{ state: 'loaded', error: expect.stringContaining('harmed.gguf') }])
      die()
      const refused = await answerAfter(server)
      expect([refused.status, await errorOf(refused)]).toMatchObject([
        412,
        { code: 'model_not_loaded', message: expect.stringMatching(/harmed\.gguf .*truncated/) },
      ])
      const again = await post(server, 'harmed')
      expect([again.status, (await errorOf(again)).code, server.engines()]).toEqual([412, 'model_not_loaded', []])
      expect(await lines()).toMatchObject([{ state: 'failed', error: expect.stringContaining('truncated') }])
      expect((await listed(server)).map(({ id }) => id)).toContain('one')
      await writeFile(file('harmed.gguf'), whole)
      expect(await lines()).toMatchObject([{ state: 'available' }])
      expect((await post(server, 'harmed')).status).toBe(200)
      expect(await lines()).toMatchObject([{ state: 'loaded' }])
    },
  )

  it('is reported when its vision file is damaged', async () => {
    const { server, die, lines } = await loaded()
    await truncate(file('mmproj-harmed.gguf'), 1000)
    expect(await lines()).toMatchObject([{ state: 'loaded', error: expect.stringContaining('mmproj-harmed.gguf') }])
    expect((await post(server, 'harmed')).status).toBe(200)
    die()
    expect((await answerAfter(server)).status).toBe(412)
    expect(await lines()).toMatchObject([{ state: 'failed' }])
  })

  it('answers until its process ends if they are deleted, and is then no model of the server', async () => {
    const { server, die, lines } = await loaded()
    for (const name of ['harmed.gguf', 'mmproj-harmed.gguf']) await rm(file(name))
    expect(await lines()).toMatchObject([{ state: 'loaded' }])
    expect((await post(server, 'harmed')).status).toBe(200)
    die()
    expect([404, 412]).toContain((await answerAfter(server)).status)
    expect((await post(server, 'harmed')).status).toBe(404)
    expect(await lines()).toEqual([])
  })

  it('is loaded anew if another model has replaced it', async () => {
    const { server, die } = await loaded()
    await rm(file('harmed.gguf'))
    await rm(file('mmproj-harmed.gguf'))
    await copyFile(`${pocketFolder}pocket.gguf`, file('harmed.gguf'))
    await copyFile(`${pocketFolder}mmproj-pocket.gguf`, file('mmproj-harmed.gguf'))
    die()
    expect((await answerAfter(server)).status).toBe(200)
    expect((await listed(server)).find(({ id }) => id === 'harmed')).toMatchObject({ state: 'loaded', title: 'Pocket' })
  })

  it('is restarted without them being read if they have not changed', async () => {
    const { server, die } = await loaded()
    die()
    expect((await answerAfter(server)).status).toBe(200)
  })
})
