import type { ChildProcess } from 'node:child_process'
import { Agent, createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { orielServe } from '../support/cli.ts'
import { eventsOf, postJson } from '../support/http.ts'
import { shortRun } from '../support/long.ts'
import { patient } from '../support/wait.ts'

/** Two servers behind a router that knows of them what routers know: whether `/ready` is 200, asked now and then. */

const running: ChildProcess[] = []
afterAll(() => {
  for (const child of running) child.kill('SIGKILL')
})

const serve = async (env: Record<string, string>) => {
  const server = await orielServe([], env)
  running.push(server.child)
  return { ...server, exited: new Promise<number | null>((resolve) => server.child.once('exit', resolve)) }
}

const chat = (url: string, rest: object) =>
  postJson(`${url}/v1/chat/completions`, {
    model: 'pocket',
    messages: [{ role: 'user', content: 'Hello' }],
    ...rest,
  })
const long = { stream: true, ignore_eos: true, max_tokens: 1500 }

describe.skipIf(shortRun)('servers that are restarted one after the other', () => {
  /** A router asks every 100 ms. */
  const env = { ORIEL_SHUTDOWN_DELAY_MS: '3000', ORIEL_GRACE_MS: '60000' }
  const agent = new Agent({ keepAlive: true })
  const members: { url: string; ready: boolean }[] = []
  let router: Server
  let url = ''

  const add = async () => {
    const server = await serve(env)
    members.push({ url: server.url, ready: true })
    return server
  }

  beforeAll(async () => {
    let turn = 0
    router = createServer((from, to) => {
      const ready = members.filter((member) => member.ready)
      const member = ready[turn++ % ready.length]
      if (member === undefined) return void to.writeHead(502).end('nobody is ready')
      const sent = request(member.url + from.url, { agent, method: from.method ?? 'GET', headers: from.headers })
      sent.on('response', (got) => got.pipe(to.writeHead(got.statusCode ?? 500, got.headers)))
      // It sends nothing twice: what fails has failed.
      sent.on('error', ({ message }) => to.headersSent || to.writeHead(502).end(message))
      from.pipe(sent)
    }).listen(0, '127.0.0.1')
    url = `http://127.0.0.1:${await new Promise<number>((resolve) => router.once('listening', () => resolve((router.address() as AddressInfo).port)))}`
    // One after the other: an answer that is late must not hide a newer one.
    void (async () => {
      while (router.listening) {
        for (const member of members)
          member.ready = await fetch(`${member.url}/ready`).then(
            ({ ok }) => ok,
            () => false,
          )
        await sleep(100)
      }
    })()
  })
  afterAll(() => {
    router.close()
    agent.destroy()
  })

  it('answer every request, and end the streams that they have begun', async () => {
    const first = await add()
    const second = await add()
    let stopped = false
    const outcomes: string[] = []
    const client = async (stream: boolean) => {
      while (!stopped) {
        const response = await chat(url, stream ? { stream } : {})
        const text = await response.text()
        const ended = response.ok && (stream ? text.endsWith('data: [DONE]\n\n') && !text.includes('"error"') : true)
        outcomes.push(ended ? 'answered' : `${response.status} ${text.slice(-300)}`)
        await sleep(20)
      }
    }
    const clients = [false, false, true, true].map(client)
    for (const old of [first, second]) {
      // Somebody's long answer runs in it when it is told to end.
      const answer = await chat(old.url, long)
      old.child.kill('SIGTERM')
      await add()
      expect(await old.exited).toBe(0)
      const text = await answer.text()
      expect(eventsOf<{ usage?: object }>(text).at(-1)).not.toHaveProperty('error')
      expect(text).toMatch(/"finish_reason":"length"[\s\S]*data: \[DONE\]\n\n$/)
    }
    stopped = true
    await Promise.all(clients)
    expect(outcomes.length).toBeGreaterThan(20)
    expect(outcomes.filter((outcome) => outcome !== 'answered')).toEqual([])
    for (const child of running) child.kill('SIGKILL')
  })
})

describe('a server that is told to end', () => {
  it.skipIf(shortRun)(
    'says so in /ready at once, sends its clients elsewhere, and goes on until the delay is over',
    async () => {
      const server = await serve({ ORIEL_SHUTDOWN_DELAY_MS: '60000' })
      server.child.kill('SIGTERM')
      await vi.waitFor(async () => {
        const response = await fetch(`${server.url}/ready`)
        expect([response.status, await response.json()]).toEqual([
          503,
          { status: 'unavailable', reason: 'The server is about to end.' },
        ])
      }, patient)
      const response = await chat(server.url, { max_tokens: 3 })
      expect([response.status, response.headers.get('connection')]).toEqual([200, 'close'])
      const stream = await chat(server.url, { max_tokens: 3, stream: true })
      expect([stream.status, stream.headers.get('connection')]).toEqual([200, 'close'])
      await stream.text()
      // The second signal ends it without waiting.
      await sleep(600)
      server.child.kill('SIGTERM')
      expect(await server.exited).toBe(0)
    },
  )

  it.skipIf(shortRun)('ends answers that outlast the grace, and all of them at the second signal', async () => {
    for (const [env, again] of [
      [{ ORIEL_GRACE_MS: '50' }, false],
      [{ ORIEL_GRACE_MS: '60000' }, true],
    ] as const) {
      const server = await serve(env)
      const answer = await chat(server.url, { ...long, max_tokens: 3900 })
      server.child.kill('SIGTERM')
      await sleep(600)
      if (again) server.child.kill('SIGINT')
      expect(eventsOf(await answer.text()).at(-1)).toMatchObject({ error: { type: 'server_error' } })
      expect(await server.exited).toBe(0)
    }
  })
})
