import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Backend } from '../../src/app.ts'
import { orielServe } from '../support/cli.ts'
import { inputs, shortRun } from '../support/long.ts'
import { plainBackend } from '../support/plain-backend.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

/** A real Oriel behind the real nginx and Caddy, with the configurations that `deploy/` has for them. */

const site = 'oriel.example.com'
const deploy = path.join(import.meta.dirname, '../../deploy')
const read = (file: string): string => readFileSync(path.join(deploy, file), 'utf8')
/** The text with another in the place of one that it has once. */
const having = (text: string, found: string, other: string): string => {
  expect(text.split(found)).toHaveLength(2)
  return text.replace(found, other)
}

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })

let folder = ''
let upstream: TestServer
const running: ChildProcess[] = []
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'oriel-proxies-'))
  upstream = await startServer({ server: { hostnames: [site] } }, [paced()])
})
afterAll(async () => {
  for (const child of running) child.kill('SIGTERM')
  await upstream.close()
  rmSync(folder, { recursive: true })
})

/** Hears of what the client has received. */
let heard = (_text: string): void => {}

/** Aborts when the client of the paced answer has left. */
let working: AbortSignal | undefined

/** Answers word by word, and says no word before the client has the one before. */
function paced(): Backend {
  const backend = plainBackend('paced')
  return {
    ...backend,
    async answer(ask, signal) {
      working = signal
      const { events, ...rest } = await backend.answer(ask, signal)
      return {
        ...rest,
        events: (async function* () {
          for await (const event of events) {
            const { raw } = event.type === 'part' ? event : { raw: '' }
            const isHeard = new Promise<void>((resolve) => {
              heard = (text) => text.includes(JSON.stringify(raw).slice(1, -1)) && resolve()
              signal.addEventListener('abort', () => resolve())
            })
            yield event
            if (raw !== '') await isHeard
          }
        })(),
      }
    },
  }
}

/** Runs nginx as the process that a test can end. @returns its port */
async function startNginx(hosts: readonly string[]): Promise<number> {
  const port = await freePort()
  const certificate = path.join(folder, 'certificate.pem')
  const key = path.join(folder, 'key.pem')
  const subject = ['-subj', `/CN=${site}`, '-addext', `subjectAltName=DNS:${site}`]
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  execFileSync('openssl', ['req', ...kind, ...subject, '-keyout', key, '-out', certificate], { stdio: 'ignore' })
  const changes = [
    ['server 127.0.0.1:8080 max_fails=0;', hosts.map((host) => `server ${host} max_fails=0;`).join(' ')],
    ['listen 443 ssl http2;', `listen 127.0.0.1:${port} ssl http2;`],
    ['/etc/ssl/oriel/fullchain.pem', certificate],
    ['/etc/ssl/oriel/privkey.pem', key],
  ] as const
  const ours = changes.reduce((text, [found, other]) => having(text, found, other), read('nginx.conf'))
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  )
  const whole = `daemon off; pid ${folder}/nginx-${port}.pid; error_log stderr;
    events {}
    http { access_log off; ${paths.join(' ')} ${ours} }`
  const file = path.join(folder, `nginx-${port}.conf`)
  writeFileSync(file, whole)
  const checked = spawnSync('nginx', ['-t', '-c', file], { encoding: 'utf8' })
  expect([checked.status, checked.stderr]).toEqual([0, expect.stringContaining('test is successful')])
  running.push(spawn('nginx', ['-c', file], { stdio: 'ignore' }))
  return port
}

/** Runs Caddy, which signs its certificate itself. @returns its port */
async function startCaddy(hosts: readonly string[]): Promise<number> {
  const port = await freePort()
  const http = await freePort()
  // Its storage is a folder of the test, and nothing asks for a password to trust it.
  const options = `{
    admin off
    skip_install_trust
    https_port ${port}
    http_port ${http}
    storage file_system ${folder}/caddy
  }\n`
  const file = path.join(folder, `Caddyfile-${port}`)
  const ours = having(read('Caddyfile'), 'reverse_proxy {', 'tls internal\n\treverse_proxy {')
  writeFileSync(file, options + ours)
  const env = { ...process.env, SITE: site, UPSTREAM: hosts.join(' '), HOME: folder }
  const checked = spawnSync('caddy', ['validate', '--config', file, '--adapter', 'caddyfile'], {
    encoding: 'utf8',
    env,
  })
  expect([checked.status, checked.stderr]).toEqual([0, expect.anything()])
  running.push(spawn('caddy', ['run', '--config', file, '--adapter', 'caddyfile'], { env, stdio: 'ignore' }))
  return port
}

interface Answer {
  status: number
  text: string
}

/** A request to the site as a client on the internet sends it. */
const send = (port: number, way: string, body?: string | Buffer, type = 'application/json') =>
  new Promise<Answer>((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port,
      path: way,
      servername: site,
      rejectUnauthorized: false,
      agent: false,
    } as const
    const headers = { host: site, 'content-type': type }
    const sent = request({ ...options, headers, method: body === undefined ? 'GET' : 'POST' }, (response) => {
      const parts: string[] = []
      response.setEncoding('utf8').on('data', (part: string) => {
        parts.push(part)
        heard(parts.join(''))
      })
      response.on('error', reject)
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: parts.join('') }))
    })
    sent.on('error', reject)
    sent.end(body)
  })

const proxies = [
  { name: 'nginx', version: '-v', start: startNginx, files: 'nginx.conf' },
  { name: 'caddy', version: 'version', start: startCaddy, files: 'Caddyfile' },
]
describe.each(proxies)('$name with deploy/$files', ({ name, version, start }) => {
  const isInstalled = spawnSync(name, [version]).status === 0
  const skip = shortRun ? 'it takes half a minute: TEST_LONG=1' : isInstalled ? undefined : `${name} is not installed`
  const title = (text: string): string => (skip === undefined ? text : `${text} (skipped: ${skip})`)
  let port = 0
  beforeAll(async () => {
    if (skip !== undefined) return
    port = await start([new URL(upstream.url).host])
    await vi.waitFor(async () => expect(await send(port, '/ready')).toMatchObject({ status: 200 }), patient)
  })

  const question = { model: 'pocket', messages: [{ role: 'user', content: 'Hello' }] }

  it.skipIf(skip)(title('passes each event of a stream when it comes'), async () => {
    const body = JSON.stringify({ ...question, model: 'paced', stream: true })
    // If anything kept an event back, the next one would never come.
    const events = await send(port, '/v1/chat/completions', body)
    expect(events).toMatchObject({ status: 200, text: expect.stringMatching(/tools\.[\s\S]*data: \[DONE\]\n\n$/) })
    const lines = await send(port, '/api/chat', body)
    expect(lines).toMatchObject({ status: 200, text: expect.stringMatching(/tools\.[\s\S]*"done":true.*\n$/) })
  })

  it.skipIf(skip)(title('lets in a body as large as Oriel takes, and Oriel refuses what is larger'), async () => {
    const image = (characters: number) => ({
      type: 'image_url',
      image_url: { url: `data:image/png;base64,${'A'.repeat(characters)}` },
    })
    const ask = (characters: number) =>
      send(
        port,
        '/v1/chat/completions',
        JSON.stringify({ model: 'pocket', messages: [{ role: 'user', content: [image(characters)] }] }),
      )
    // Nine megabytes that are no image, and more than the images of a request may have: both are for Oriel to refuse.
    expect(await ask(9_000_000)).toMatchObject({ status: 415, text: expect.stringContaining('messages[0].content[0]') })
    expect(await ask(12_000_000)).toMatchObject({
      status: 413,
      text: expect.stringContaining('messages[0].content[0]'),
    })
    const form = (bytes: number) => {
      const head = '--x\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
      const body = Buffer.concat([Buffer.from(head), Buffer.alloc(bytes), Buffer.from('\r\n--x--\r\n')])
      return send(port, '/v1/audio/transcriptions', body, 'multipart/form-data; boundary=x')
    }
    const { status, text } = await form(29_000_000)
    expect([status, JSON.parse(text)]).toEqual([
      expect.any(Number),
      { error: expect.objectContaining({ message: expect.any(String) }) },
    ])
    expect([400, 404, 422]).toContain(status)
  })

  it.skipIf(skip)(title('lets in a file of a dataset, however large it is'), async () => {
    const line = Buffer.from(
      `${JSON.stringify({
        messages: [
          { role: 'user', content: 'a'.repeat(1_000_000) },
          { role: 'assistant', content: 'b' },
        ],
      })}\n`,
    )
    const head =
      '--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--x\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    const body = Buffer.concat([
      Buffer.from(head),
      ...Array.from({ length: 40 }, () => line),
      Buffer.from('\r\n--x--\r\n'),
    ])
    const { status, text } = await send(port, '/v1/files', body, 'multipart/form-data; boundary=x')
    // From elsewhere it is for those with a key. That it says so itself shows that it got here.
    expect([status, JSON.parse(text)]).toEqual([403, { error: expect.objectContaining({ code: 'key_needed' }) }])
  })

  it.skipIf(skip)(title('lets nobody on the internet change the disk of a server without keys'), async () => {
    const answer = await send(port, '/admin/models/pull', JSON.stringify({ model: 'smolvlm-500m' }))
    expect(answer).toMatchObject({ status: 403, text: expect.stringContaining('key_needed') })
  })

  it.skipIf(skip)(title('ends the work of a client that leaves'), async () => {
    const body = JSON.stringify({ ...question, model: 'paced', stream: true })
    const options = {
      host: '127.0.0.1',
      port,
      path: '/v1/chat/completions',
      servername: site,
      rejectUnauthorized: false,
    } as const
    const sent = request({ ...options, method: 'POST', headers: { host: site, 'content-type': 'application/json' } })
    sent.on('error', () => {})
    sent.end(body)
    await new Promise((resolve) => sent.once('response', resolve))
    const work = working
    expect(work?.aborted).toBe(false)
    sent.destroy()
    // Not only when it gives up waiting for the next event.
    await vi.waitFor(() => expect(work?.aborted).toBe(true), { timeout: 20_000 })
  })

  it.skipIf(skip)(title('keeps the name of the site, by which Oriel knows who may ask'), async () => {
    const page = await send(port, '/v1/models')
    expect(page.status).toBe(200)
  })

  it.skipIf(skip)(
    title('answers every request while two servers behind it are restarted one after the other'),
    async () => {
      const ports = [await freePort(), await freePort()]
      const restarted = async (at: number) => {
        const server = await orielServe(['--port', String(at)], {
          ORIEL_HOSTNAMES: site,
          ORIEL_SHUTDOWN_DELAY_MS: '3500',
          ORIEL_GRACE_MS: '60000',
        })
        running.push(server.child)
        return { ...server, exited: new Promise((resolve) => server.child.once('exit', resolve)) }
      }
      const servers = await Promise.all(ports.map(restarted))
      const port = await start(ports.map((at) => `127.0.0.1:${at}`))
      await vi.waitFor(async () => expect(await send(port, '/ready')).toMatchObject({ status: 200 }), patient)
      let stopped = false
      const outcomes: string[] = []
      const client = async (stream: boolean) => {
        while (!stopped) {
          const body = JSON.stringify({ ...question, max_tokens: 20, stream })
          const { status, text } = await send(port, '/v1/chat/completions', body).catch((error) => ({
            status: 0,
            text: String(error),
          }))
          const isWhole = status === 200 && (!stream || text.endsWith('data: [DONE]\n\n')) && !text.includes('"error"')
          outcomes.push(isWhole ? 'answered' : `${status} ${text.slice(-200)}`)
        }
      }
      const clients = [false, true, true].map(client)
      for (const [index, old] of servers.slice(0, inputs(1, 2)).entries()) {
        old.child.kill('SIGTERM')
        expect(await old.exited).toBe(0)
        await restarted(ports[index] ?? 0)
        // Until the proxy has asked it.
        await sleep(2500)
      }
      stopped = true
      await Promise.all(clients)
      expect(outcomes.length).toBeGreaterThan(50)
      expect(outcomes.filter((outcome) => outcome !== 'answered')).toEqual([])
    },
  )
})
