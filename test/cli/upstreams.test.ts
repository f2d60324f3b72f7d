import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { environment, oriel, orielHere, root } from '../support/cli.ts'
import { postJson } from '../support/http.ts'
import { patient } from '../support/wait.ts'
import { type ScriptedUpstream, scriptedUpstream } from '../upstreams/scripted.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-front-'))
const file = path.join(folder, 'oriel.toml')
let [one, two]: ScriptedUpstream[] = []
const section = (name: string, upstream: ScriptedUpstream | undefined, more = '') =>
  `[[upstreams]]\nname = "${name}"\nurl = "${upstream?.url}"\napi = "vllm"\n${more}\n`

beforeAll(async () => {
  ;[one, two] = await Promise.all([scriptedUpstream('One', ['a', 'shared']), scriptedUpstream('Two', ['shared', 'b'])])
  writeFileSync(file, section('one', one))
})
afterAll(async () => {
  await Promise.all([one?.close(), two?.close()])
  rmSync(folder, { recursive: true })
})

describe('oriel serve in front of other servers', () => {
  const server = { out: '', err: '', url: '', exited: false, hangUp: () => {}, leave: () => {}, kill: () => {} }
  beforeAll(async () => {
    const child = spawn(process.execPath, [`${root}bin/oriel.js`, 'serve', '--port', '0', '--config', file], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environment({}),
    })
    child.stdout.on('data', (part) => {
      server.out += part
    })
    child.stderr.on('data', (part) => {
      server.err += part
    })
    child.once('exit', () => {
      server.exited = true
    })
    server.hangUp = () => child.kill('SIGHUP')
    server.leave = () => child.stdout.destroy()
    server.kill = () => child.kill('SIGKILL')
    await vi.waitFor(() => expect(server.out).toContain('curl '), patient)
    server.url = /http:\/\/\S+:\d+/.exec(server.out)?.[0] ?? ''
  })
  afterAll(() => server.kill())

  const ask = async (model: string, content = 'Hello'): Promise<string> => {
    const body = { model, messages: [{ role: 'user', content }] }
    const answer = await (await postJson(`${server.url}/v1/chat/completions`, body)).json()
    return JSON.stringify((answer as { choices?: { message: object }[] }).choices?.[0]?.message ?? answer)
  }

  it('says whose models it serves, and how to list them', async () => {
    expect(server.out).toMatch(/^Oriel serves the models of one at http:\/\/127\.0\.0\.1:\d+ \(no API key/)
    expect(server.out).toContain(`curl ${server.url}/v1/models`)
    expect(await ask('a')).toContain('One has a')
  })

  it.skipIf(process.platform === 'win32')('reads its file again on SIGHUP, and no request is lost', async () => {
    const long = ask('one/shared', 'wait')
    await vi.waitFor(() => expect(one?.asked.some(({ model }) => model === 'shared')).toBe(true), patient)
    let isOver = false
    const answers: string[] = []
    const clients = Array.from({ length: 4 }, async () => {
      while (!isOver) answers.push(await ask('shared'))
    })
    const said = () => server.out.split('The configuration was read again.').length - 1
    for (const [turn, changes] of [
      section('one', one) + section('two', two),
      section('one', one, 'weight = 3') + section('two', two),
      section('two', two),
      `${section('one', one) + section('two', two)}[aliases]\nc = "two/b"\n`,
    ].entries()) {
      writeFileSync(file, changes)
      server.hangUp()
      await vi.waitFor(() => expect(said()).toBe(turn + 1), patient)
      // What was there before is asked while the upstreams have not yet said what they have.
      expect(await ask('shared')).toMatch(/(One|Two) has shared/)
    }
    isOver = true
    await Promise.all(clients)
    expect(answers.filter((answer) => !/(One|Two) has shared/.test(answer))).toEqual([])
    expect(answers.length).toBeGreaterThan(4)
    one?.finish()
    expect(await long).toContain('One has shared')
    expect(await ask('c')).toContain('Two has b')
    expect(server.out).toContain('The configuration was read again. Upstreams added: two.')
    expect(server.out).toContain('Upstreams changed: one.')
    expect(server.out).toContain('Upstreams removed: one.')
  })

  it.skipIf(process.platform === 'win32')('goes on as before if the file is not allowed, and says why', async () => {
    writeFileSync(file, `${section('one', one, 'wieght = 3')}`)
    server.hangUp()
    await vi.waitFor(() => expect(server.err).toContain('The configuration stays as it was.'), patient)
    expect(server.err).toMatch(/upstreams\[0\]\.wieght: there is no such setting, did you mean weight\?/)
    expect(await ask('c')).toContain('Two has b')
    expect(server.exited).toBe(false)
  })

  it.skipIf(process.platform === 'win32')('goes on if nobody reads any more what it says', async () => {
    server.leave()
    for (const alias of ['d', 'e']) {
      writeFileSync(file, `${section('one', one) + section('two', two)}[aliases]\n${alias} = "two/b"\n`)
      server.hangUp()
      await vi.waitFor(async () => expect(await ask(alias)).toContain('Two has b'), patient)
    }
    expect(server.exited).toBe(false)
  })
})

describe('the commands about models', () => {
  const env = { ORIEL_CONFIG: path.join(folder, 'commands.toml') }
  beforeAll(() => {
    const listed = 'models = ["shared", { id = "b", contextTokens = 4096, inputs = ["image", "audio"] }]'
    const gone = '[[upstreams]]\nname = "gone"\nurl = "http://127.0.0.1:9"\napi = "ollama"\n'
    writeFileSync(env.ORIEL_CONFIG, section('one', one) + section('two', two, listed) + gone)
  })

  it('list those of upstreams, with where they are, and say who does not answer', async () => {
    const { stdout, stderr, code } = await orielHere(['list'], env)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^pocket .*^UPSTREAM +NAME +TAKES +CONTEXT$/ms)
    expect(stdout).toMatch(/^two +b +text, images, audio +4,096 tokens$/m)
    expect(stdout).toMatch(/^one +a +text, images$/m)
    expect(stderr).toMatch(/^The upstream gone does not say which models it has\. .+/)
    expect(stdout + stderr).not.toContain('http://')
    const { upstreams } = JSON.parse((await orielHere(['list', '--json'], env)).stdout)
    expect(upstreams).toMatchObject([{ name: 'one', error: null }, { name: 'two' }, { name: 'gone', models: [] }])
  })

  it('show one, with all upstreams that have it', async () => {
    const { stdout } = await orielHere(['show', 'shared'], env)
    expect(stdout).toMatch(/^answered by +one, two$/m)
    expect(JSON.parse((await orielHere(['show', 'two/b', '--json'], env)).stdout)).toMatchObject({
      ...{ name: 'b', upstreams: ['two'], context_tokens: 4096 },
    })
    expect((await oriel(['show', 'nothing'], { env })).stderr).toContain('There is no model nothing.')
  })
})
