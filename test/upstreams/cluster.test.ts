import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import OpenAI from 'openai'
import pino from 'pino'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { builtPeer } from '../../bench/peer.ts'
import { type Accounts, createAccounts } from '../../src/accounts/index.ts'
import type { OrielSettings } from '../../src/config.ts'
import { loadConfig } from '../../src/load-config.ts'
import type { UpstreamApi } from '../../src/upstreams/settings.ts'
import { orielServe, root } from '../support/cli.ts'
import { answers, clientImages, clients, type Where } from '../support/clients.ts'
import { type Client, load, type Sent, waysOf, written } from '../support/load.ts'
import { inputs } from '../support/long.ts'
import {
  type Fault,
  makeIdentity,
  type ScriptedUpstream,
  scriptedAnswer,
  secrets,
  startScriptedUpstream,
} from '../support/scripted-upstream.ts'
import { missingServices, type Service, startPostgres, startRedis } from '../support/services.ts'
import { patient } from '../support/wait.ts'

/**
 * A cluster as people run it, of processes on loopback: two gateways that share PostgreSQL and Redis, and before them an
 * Oriel with Pocket, a llama-server with Pocket, and upstreams with faults.
 */

const skip = inputs('it takes half a minute: TEST_LONG=1', missingServices())
const peer = builtPeer()
const greeting = 'Hello! Send me an image and ask about it.'
const oneImage = 'A red circle on a white background.'
const twoImages = 'The first image shows a red circle and the second image shows a blue square.'

/** Those that an Oriel speaks, each of which is an upstream of its own here. */
const spoken = ['oriel', 'openai', 'anthropic', 'fireworks', 'novita', 'vllm', 'sglang', 'ollama', 'lm-studio'] as const
const by = (api: UpstreamApi) => `pocket-by-${api}`

interface Process {
  readonly url: string
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null>
}

const processOf = (child: ChildProcess, url: string): Process => {
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  return {
    url,
    end(signal) {
      child.kill(signal)
      return ended
    },
  }
}

async function startPeer(binary: string): Promise<Process> {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = server.address()
  const port = String(typeof address === 'object' ? address?.port : '')
  await new Promise((resolve) => server.close(resolve))
  const pocket = [
    '--alias',
    'pocket-of-the-peer',
    '-m',
    `${root}models/pocket/pocket.gguf`,
    '--mmproj',
    `${root}models/pocket/mmproj-pocket.gguf`,
  ]
  const child = spawn(binary, [...pocket, '--port', port, '-t', '1', '-c', '8192', '-np', '2'], { stdio: 'ignore' })
  const url = `http://127.0.0.1:${port}`
  await vi.waitFor(async () => expect((await fetch(`${url}/health`)).status).toBe(200), patient)
  return processOf(child, url)
}

describe.skipIf(skip !== undefined)(`a cluster${skip === undefined ? '' : ` (skipped: ${skip})`}`, () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-cluster-'))
  const file = path.join(folder, 'oriel.json')
  const tiers = { few: { requests: 20 }, two: { concurrentRequests: 2 } }
  const started: Process[] = []
  let postgres: Service
  let redis: Service
  let accounts: Accounts
  let settings: NonNullable<OrielSettings['accounts']>
  let house: Process
  let scripted: Record<'one' | 'two' | 'alone' | 'sealed' | 'trusted', ScriptedUpstream>
  let gateways: Process[]
  let images: Where['images']
  let client: Client

  beforeAll(async () => {
    const identity = makeIdentity()
    const ca = path.join(folder, 'ca.pem')
    writeFileSync(ca, identity.cert)
    const names = ['one', 'two', 'alone', 'sealed', 'trusted'] as const
    const isSealed = (name: string) => name === 'sealed' || name === 'trusted'
    ;[postgres, redis, house, images] = await Promise.all([startPostgres(), startRedis(), startHouse(), clientImages()])
    const servers = await Promise.all(
      names.map(async (name) => [name, await startScriptedUpstream('scripted', isSealed(name) ? identity : undefined)]),
    )
    scripted = Object.fromEntries(servers)
    const llama = peer === undefined ? undefined : await startPeer(peer)
    if (llama !== undefined) started.push(llama)
    const upstreams: OrielSettings['upstreams'] = [
      ...spoken.map((api) => ({
        ...{ name: api === 'oriel' ? 'house' : `house-${api}`, url: house.url, api },
        models: [{ id: 'pocket', as: by(api), inputs: ['image' as const] }],
      })),
      ...names.map((name) => ({
        ...{ name, url: scripted[name].url, api: 'vllm' as const, firstByteTimeoutMs: 1500, idleTimeoutMs: 3000 },
        models: [{ id: 'scripted', as: name === 'one' || name === 'two' ? 'scripted' : name }],
        ca: name === 'trusted' ? ca : null,
      })),
      ...(llama === undefined ? [] : [{ name: 'peer', url: llama.url, api: 'llama-server' as const }]),
    ]
    const aliases = { either: [by('oriel'), 'scripted'] }
    writeFileSync(file, JSON.stringify({ model: [], accounts: { tiers }, upstreams, aliases }))
    settings = { dataDir: path.join(folder, 'data'), tiers, databaseUrl: postgres.url }
    accounts = await createAccounts(loadConfig({ accounts: settings }, {}), pino({ level: 'silent' }))
    gateways = await Promise.all([startGateway('a'), startGateway('b')])
    client = await newClient(null)
  })
  afterAll(async () => {
    await Promise.all(started.map((one) => one.end('SIGKILL')))
    await Promise.all(Object.values(scripted).map((one) => one.close()))
    await accounts.close()
    await Promise.all([postgres, redis].map((service) => service.stop()))
    rmSync(folder, { recursive: true, force: true })
  })

  async function startHouse(): Promise<Process> {
    const env = { ORIEL_DATA_DIR: path.join(folder, 'house'), ORIEL_LOG_LEVEL: 'silent' }
    const { child, url } = await orielServe(['--gpu', 'off'], env)
    const started_ = processOf(child, url)
    started.push(started_)
    return started_
  }
  async function startGateway(name: string): Promise<Process> {
    const { child, url } = await orielServe(['--config', file, '--gpu', 'off'], {
      ORIEL_DATA_DIR: path.join(folder, name),
      // For answers that are slow on purpose.
      ORIEL_GRACE_MS: '30000',
      ORIEL_ADMIN_KEY: 'the-key-of-the-administrator',
      ORIEL_LOG_LEVEL: 'silent',
      DATABASE_URL: postgres.url,
      REDIS_URL: redis.url,
    })
    const gateway = processOf(child, url)
    started.push(gateway)
    return gateway
  }
  let made = 0
  async function newClient(tier: keyof typeof tiers | null): Promise<Client> {
    const account = `${tier}-${made++}`
    await accounts.keys.setAccount(account, { tier })
    return { account, key: (await accounts.keys.create({ account })).secret }
  }
  /** The gateway that is asked: the first, and the others in turn. */
  const gateway = (at: number): Process => {
    const chosen = gateways[at % gateways.length]
    if (chosen === undefined) throw new Error('no gateway runs')
    return chosen
  }
  const whereOf = (model: string, at = 0): Where => ({ url: gateway(at).url, model, key: client.key, images })
  const openai = (at: number, { key } = client) =>
    new OpenAI({ baseURL: `${gateway(at).url}/v1`, apiKey: key, maxRetries: 0 })
  const question = (model: string, content = 'Hello') => ({
    ...{ model, temperature: 0, messages: [{ role: 'user' as const, content }] },
  })
  const ask = async (model: string, content: string, at = 0, who = client): Promise<string> =>
    (await openai(at, who).chat.completions.create(question(model, content))).choices[0]?.message.content ?? ''
  /** Streams an answer. @param onBegun called with its first text */
  const stream = async (model: string, at: number, more: object = {}, onBegun = () => {}): Promise<string> => {
    let text = ''
    const asked = { ...question(model, `Question ${made++}`), ...more, stream: true as const }
    for await (const { choices } of await openai(at).chat.completions.create(asked)) {
      if (text === '' && choices[0]?.delta.content) onBegun()
      text += choices[0]?.delta.content ?? ''
    }
    return text
  }
  const failure = (work: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> =>
    work.then(
      (answer) => expect.unreachable(`it should fail, and answers ${JSON.stringify(answer)}`),
      (error) => error,
    )

  describe('answers clients of every API from upstreams of every API', () => {
    const all = spoken.flatMap((api) => clients.map(([name, make], at) => ({ api, name, make, at })))
    // Every client, and every API of an upstream.
    const some = all.filter(({ api, at }) => api === 'oriel' || at === spoken.indexOf(api) % clients.length)
    it.each(inputs(some, all))('$name, from $api', async ({ api, make, at }) => {
      const asked = make(whereOf(by(api), at))
      expect(await asked.text()).toBe(greeting)
      expect(await asked.image()).toBe(oneImage)
      expect(await asked.images()).toBe(twoImages)
      expect(await asked.stream()).toBe(oneImage)
    })

    /** Ollama's API has no way to insist on a call, and Anthropic's API no schema but one. */
    const insisting = ['oriel', 'openai', 'anthropic', 'fireworks', 'novita', 'vllm', 'sglang'] as const
    it.each(inputs(some, all).filter(({ api }) => insisting.some((one) => one === api)))(
      'calls and schemas: $name, from $api',
      async ({ api, make, at }) => {
        const asked = make(whereOf(by(api), at))
        expect(answers).toContain((await asked.call()).colour)
        expect(answers).toContain((await asked.object()).colour)
      },
    )

    it.skipIf(peer === undefined).each(clients)(
      `%s, from llama-server${peer === undefined ? ' (skipped: it is not built, see bench/)' : ''}`,
      async (_, make) => {
        const asked = make(whereOf('pocket-of-the-peer'))
        expect(await asked.text()).toMatch(/\w/)
        expect(await asked.image()).toMatch(/red/)
        expect(await asked.stream()).toMatch(/red/)
      },
    )
  })

  describe('usage', () => {
    /** Ollama's API has no word for what was cached. */
    const asTold = (row: string) => (row.startsWith('/api/') ? row.replace(/cached \d+/, 'cached ?') : row)

    it('of an answer is that which the upstream tells, streamed or not', async () => {
      const usageOf = async (url: string, model: string, stream: boolean) => {
        const api = new OpenAI({ baseURL: `${url}/v1`, apiKey: client.key, maxRetries: 0 })
        const asked = question(model, 'How many?')
        if (!stream) return (await api.chat.completions.create(asked)).usage
        let usage: OpenAI.CompletionUsage | null | undefined
        const options = { ...asked, stream: true as const, stream_options: { include_usage: true } }
        for await (const chunk of await api.chat.completions.create(options)) usage = chunk.usage ?? usage
        return usage
      }
      const { prompt_tokens, completion_tokens } = (await usageOf(house.url, 'pocket', false)) ?? {}
      expect(prompt_tokens).toBeGreaterThan(5)
      for (const api of inputs<readonly UpstreamApi[]>(['oriel', 'anthropic', 'vllm'], spoken))
        for (const streams of [false, true])
          expect({ api, streams, usage: await usageOf(gateway(1).url, by(api), streams) }).toMatchObject({
            usage: { prompt_tokens, completion_tokens },
          })
    })

    it('in the ledger is what the answers of both gateways say', async () => {
      const known = await Promise.all([newClient(null), newClient(null)])
      let turn = 0
      const sent: Sent[] = await load({
        ...{ clients: known, ways: waysOf(images.red, by('oriel')), requests: inputs(32, 200), everyMs: 20 },
        server: () => gateway(turn++).url,
      })
      expect(new Set(sent.map(({ status }) => status))).toEqual(new Set([200, 400, 404, 422]))
      await vi.waitFor(async () => {
        const { rows } = await written(
          settings,
          known.map(({ account }) => account),
        )
        for (const { account } of known) {
          const told = sent.filter((one) => one.account === account).flatMap(({ row }) => row ?? [])
          expect(rows.get(account)?.map(asTold).toSorted()).toEqual(told.map(asTold).toSorted())
        }
      }, patient)
    })
  })

  describe('limits hold over both gateways', () => {
    it('of requests', async () => {
      const few = await newClient('few')
      const statuses = await Promise.all(
        Array.from({ length: 30 }, (_, at) =>
          ask('scripted', `Question ${at}`, at, few).then(
            () => 200,
            ({ status }) => status,
          ),
        ),
      )
      expect(statuses.filter((status) => status === 200)).toHaveLength(20)
      expect(statuses.filter((status) => status === 429)).toHaveLength(10)
    })

    it('of requests at the same time, and what an upstream cannot answer gives its place back', async () => {
      const two = await newClient('two')
      scripted.alone.pauseMs = 100
      const statuses = () =>
        Promise.all(
          Array.from({ length: 6 }, (_, at) =>
            ask('alone', `Question ${at}`, at, two).then(
              () => 200,
              ({ status }) => status,
            ),
          ),
        )
      scripted.alone.fault = 'silent'
      expect(await statuses()).not.toContain(200)
      scripted.alone.fault = null
      await vi.waitFor(
        async () => expect((await statuses()).filter((status) => status === 200)).toHaveLength(2),
        patient,
      )
      scripted.alone.pauseMs = 0
    })
  })

  describe('an upstream with a fault', () => {
    /** Not where nobody else can know how much of the work was done, or would do better. */
    it.each(['busy', 'reset', 'nonsense'] as const)('%s: another one answers', async (fault) => {
      scripted.one.fault = fault
      const before = scripted.one.asked.length
      const asking = Array.from({ length: 8 }, (_, at) => ask('scripted', `${fault} ${at}: any of the two`, at))
      await Promise.allSettled(asking)
      scripted.one.fault = null
      expect(await Promise.all(asking)).toEqual(asking.map(() => scriptedAnswer))
      expect(scripted.one.asked.length).toBeGreaterThan(before)
      // Its breaker may be open.
      await vi.waitFor(async () => {
        const before = scripted.one.asked.length
        await Promise.all(Array.from({ length: 8 }, (_, at) => ask('scripted', `After ${fault} ${at} ${made++}`, at)))
        expect(scripted.one.asked.length).toBeGreaterThan(before)
      }, patient)
    })

    const all: Fault[] = ['silent', 'busy', 'failing', 'reset', 'nonsense', 'half', 'short']
    it.each(all)('%s, and no other has the model: the client is told, and nothing that is secret', async (fault) => {
      await works('alone')
      scripted.alone.fault = fault
      const error = await failure(ask('alone', 'Hello'))
      scripted.alone.fault = null
      expect(error.status).toBeGreaterThanOrEqual(fault === 'busy' ? 429 : 500)
      expect(error.message).toMatch(/server|upstream/)
      for (const secret of [...secrets, '127.0.0.1', 'A proxy']) expect(JSON.stringify(error)).not.toContain(secret)
    })

    it.each(['half', 'short'] as const)('%s: a stream that breaks off says so', async (fault) => {
      await works('alone')
      scripted.alone.fault = fault
      let text = ''
      const streaming = async () => {
        const asked = { ...question('alone'), stream: true as const }
        for await (const { choices } of await openai(0).chat.completions.create(asked))
          text += choices[0]?.delta.content ?? ''
      }
      const error = await failure(streaming())
      scripted.alone.fault = null
      expect(text).toBe('One two three ')
      expect(error.message).toMatch(/broke|ended|server/)
    })

    it('of TLS is one that cannot be reached, unless its certificate is trusted', async () => {
      const error = await failure(ask('sealed', 'Hello'))
      expect(error.status).toBeGreaterThanOrEqual(500)
      expect(error.message).not.toContain('127.0.0.1')
      expect(scripted.sealed.asked).toEqual([])
      expect(await ask('trusted', 'Hello')).toBe(scriptedAnswer)
    })

    /** Its breaker may be open. */
    const works = (model: string) =>
      vi.waitFor(async () => expect(await ask(model, 'Hello')).toBe(scriptedAnswer), patient)
  })

  it('a client that leaves ends the work of the upstream', async () => {
    const { alone } = scripted
    alone.pauseMs = 500
    await vi.waitFor(() => expect(alone.running).toBe(0), patient)
    const before = alone.left
    const over = new AbortController()
    const asked = { ...question('alone'), stream: true as const }
    for await (const _ of await openai(0).chat.completions.create(asked, { signal: over.signal })) {
      expect(alone.running).toBe(1)
      over.abort()
    }
    await vi.waitFor(() => expect(alone.left).toBe(before + 1), patient)
    expect(alone.running).toBe(0)
    alone.pauseMs = 0
  })

  describe('a process that is killed', () => {
    /** A stream whose first text has come. */
    const begun = async (model: string, at: number, more: object = {}) => {
      let answer: Promise<string> | undefined
      await new Promise<void>((resolve, reject) => {
        answer = stream(model, at, more, resolve)
        answer.catch(reject)
      })
      return { answer }
    }
    const slowly = (pauseMs: number) => {
      for (const one of Object.values(scripted)) one.pauseMs = pauseMs
    }
    /** Until it is killed. */
    const endless = { max_tokens: 4000, ignore_eos: true }

    it('a gateway: what it answers is lost, and nothing else', async () => {
      slowly(300)
      const [lost, kept] = await Promise.all([begun('scripted', 0), begun('scripted', 1)])
      await gateway(0).end('SIGKILL')
      await expect(lost.answer).rejects.toThrow()
      expect(await kept.answer).toBe(scriptedAnswer)
      slowly(0)
      gateways = [gateway(1)]
      expect(await ask('scripted', 'Who is there?')).toBe(scriptedAnswer)
      gateways.push(await startGateway('a'))
    })

    it('a gateway that is told to end answers what it has begun', async () => {
      slowly(200)
      const kept = await begun('scripted', 1)
      const ended = gateway(1).end('SIGTERM')
      expect(await kept.answer).toBe(scriptedAnswer)
      expect(await ended).toBe(0)
      slowly(0)
      gateways = [gateway(0), await startGateway('c')]
    })

    it('Redis or PostgreSQL: clients that are known are answered', async () => {
      for (const at of [0, 1]) expect(await ask('scripted', 'Before', at)).toBe(scriptedAnswer)
      for (const service of [redis, postgres]) {
        await service.kill()
        for (const at of [0, 1]) expect(await ask('scripted', 'Meanwhile', at)).toBe(scriptedAnswer)
        await service.restart()
      }
    })

    it('an upstream: what it answers breaks off with an error, others go on, and a fallback answers instead', async () => {
      slowly(400)
      const [lost, kept] = await Promise.all([begun(by('oriel'), 0, endless), begun('scripted', 0)])
      expect(await ask('either', 'Hello')).toBe(greeting)
      await house.end('SIGKILL')
      const error = await failure(lost.answer ?? Promise.resolve())
      expect(error.message).toMatch(/broke|server/)
      expect(await kept.answer).toBe(scriptedAnswer)
      slowly(0)
      expect(await ask('either', 'Hello', 1)).toBe(scriptedAnswer)
      const gone = await failure(ask(by('oriel'), 'Hello'))
      expect(gone.status).toBeGreaterThanOrEqual(500)
      expect(gone.message).not.toContain('127.0.0.1')
    })
  })
})
