import { createHash } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'
import { expect, it, vi } from 'vitest'
import { createAccounts } from '../../src/accounts/index.ts'
import { loadConfig } from '../../src/load-config.ts'
import { childrenRunning } from '../support/children.ts'
import { oriel, orielServe } from '../support/cli.ts'
import { dataUrl, shape } from '../support/images.ts'
import { shortRun } from '../support/long.ts'
import { send } from '../support/raw.ts'
import { patient } from '../support/wait.ts'

/** A whole run of a server that logs all it can. Nothing of what clients said, got or showed is in what it writes. */

const administrator = 'the-key-of-the-administrator-is-long'
const folder = mkdtempSync(path.join(tmpdir(), 'oriel-log-'))

/** Words that stand for what clients say. Each is made once, and nothing else contains it. */
const said: string[] = []
const word = (): string => {
  const made = `quuxword${said.length}zq`
  said.push(made)
  return made
}

it.skipIf(shortRun)(
  'the log of a whole run has no key, no prompt, no answer and no picture',
  async () => {
    const settings = { dataDir: path.join(folder, 'data') }
    const file = path.join(folder, 'log')
    const log = openSync(file, 'w')
    const server = await orielServe(
      ['--gpu', 'off'],
      {
        ORIEL_DATA_DIR: settings.dataDir,
        ORIEL_ADMIN_KEY: administrator,
        ORIEL_LOG_LEVEL: 'trace',
        ORIEL_ALLOW_PRIVATE: '127.0.0.1',
        HF_HUB_OFFLINE: '1',
      },
      log,
    )
    const accounts = await createAccounts(loadConfig({ accounts: settings }, {}), pino({ level: 'silent' }))
    const picture = await shape('red', 'circle', 96)
    const photo = await shape('blue', 'square', 80)
    const host = createServer(({ url }, response) => {
      if (url?.includes('missing')) response.writeHead(404).end(word())
      else if (url?.includes('text')) response.end(`this is ${word()} and no picture`)
      else response.end(photo)
    })
    await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve))
    const there = `http://127.0.0.1:${(host.address() as AddressInfo).port}`

    const { secret } = await accounts.keys.create({ account: 'acme', note: word() })
    const limited = await accounts.keys.create({ account: 'acme', models: ['other'], expires: Date.now() + 600_000 })
    const revoked = await accounts.keys.create({ account: 'acme' })
    await accounts.keys.revoke(revoked.key.id)
    const rotated = await accounts.keys.rotate(limited.key.id)
    const wrong = [`ork_${'w'.repeat(43)}`, 'sk-proj-abcdefghijklmnop123456', 'Passw0rd!of-somebody', 'short-key-1']
    const keys = [secret, limited.secret, revoked.secret, rotated.secret, administrator, ...wrong]

    /** What models said. */
    const answers: string[] = []
    const headersOf = (key: string) => ({ authorization: `Bearer ${key}`, 'content-type': 'application/json' })
    const post = async (url: string, body: unknown, headers: Record<string, string> = headersOf(secret)) => {
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      const response = await send(server.url + url, { method: 'POST', headers, body: text })
      answers.push(...wordsOf(response.text))
      return response
    }

    try {
      // Every way to ask, with a word of its own in every place that takes text.
      const image = (url: string) => ({ type: 'image_url', image_url: { url } })
      const text = () => ({ type: 'text', text: `Tell me about ${word()}.` })
      const messages = () => [
        { role: 'system', content: `You are ${word()}.` },
        {
          role: 'user',
          name: word(),
          content: [text(), image(dataUrl(picture)), image(`${there}/${word()}.png?sig=${word()}`)],
        },
        { role: 'assistant', content: word() },
        { role: 'user', content: word() },
      ]
      const schema = () => ({ type: 'object', properties: { [word()]: { type: 'string', enum: [word(), word()] } } })
      const tool = () => ({ type: 'function', function: { name: word(), description: word(), parameters: schema() } })
      const chat = () => ({ model: 'pocket', max_tokens: 20, messages: messages() })
      const unread = () => ({ user: word(), prompt_cache_key: word(), metadata: { [word()]: word() }, stop: [word()] })
      for (const base of ['/v1', '/inference/v1', '/openai/v1'])
        for (const stream of [false, true])
          expect((await post(`${base}/chat/completions`, { ...chat(), ...unread(), stream })).status).toBe(200)
      const asked: [string, object][] = [
        ['/v1/chat/completions', { ...chat(), tools: [tool(), tool()], tool_choice: 'required' }],
        [
          '/v1/chat/completions',
          { ...chat(), response_format: { type: 'json_schema', json_schema: { name: word(), schema: schema() } } },
        ],
        ['/v1/chat/completions', { ...chat(), dry_run: true }],
        ['/v1/chat/completions', { ...chat(), logprobs: true, top_logprobs: 5, raw_output: true, n: 2 }],
        [
          '/v1/completions',
          { model: 'pocket', prompt: [`One ${word()}`, word()], suffix: undefined, echo: true, max_tokens: 5 },
        ],
        ['/v1/responses', { model: 'pocket', input: word(), instructions: word(), max_output_tokens: 20 }],
        [
          '/v1/responses',
          {
            model: 'pocket',
            input: [
              {
                role: 'user',
                content: [
                  { type: 'input_text', text: word() },
                  { type: 'input_image', image_url: dataUrl(photo) },
                ],
              },
            ],
            stream: true,
          },
        ],
        [
          '/v1/messages',
          {
            model: 'pocket',
            max_tokens: 20,
            system: word(),
            messages: [
              {
                role: 'user',
                content: [{ type: 'image', source: { type: 'url', url: `${there}/a.png?token=${word()}` } }, text()],
              },
            ],
          },
        ],
        [
          '/v1/messages',
          { model: 'pocket', max_tokens: 20, stream: true, messages: [{ role: 'user', content: word() }] },
        ],
        ['/v1/messages/count_tokens', { model: 'pocket', messages: [{ role: 'user', content: word() }] }],
        [
          '/api/chat',
          { model: 'pocket', messages: [{ role: 'user', content: word(), images: [picture.toString('base64')] }] },
        ],
        ['/api/generate', { model: 'pocket', prompt: word(), system: word(), stream: false }],
      ]
      for (const [url, body] of asked) expect([url, (await post(url, body)).status]).toEqual([url, 200])
      expect(answers.filter((answer) => answer.length > 20).length).toBeGreaterThan(5)

      // What is wrong, in every way.
      const broken = `data:image/png;base64,${Buffer.concat([picture.subarray(0, 60), Buffer.from(word())]).toString('base64')}`
      const user = (content: unknown) => ({ model: 'pocket', messages: [{ role: 'user', content }] })
      const bad: [string, unknown][] = [
        ['/v1/chat/completions', `{"model": "pocket", "messages": [${word()}]}`],
        ['/v1/chat/completions', `{"${word()}": `],
        ['/v1/chat/completions', word()],
        ['/v1/chat/completions', { ...user('a'), [word()]: word(), max_tokens: word() }],
        ['/v1/chat/completions', { model: word(), messages: [{ role: word(), content: word() }] }],
        ['/v1/chat/completions', { ...user(word()), model: word() }],
        ['/v1/chat/completions', user([{ type: word(), text: word() }])],
        ['/v1/chat/completions', user([image(`${there}/missing/${word()}?sig=${word()}`)])],
        ['/v1/chat/completions', user([image(`${there}/text/${word()}?sig=${word()}`)])],
        ['/v1/chat/completions', user([image(`http://${word()}.invalid/a.png`)])],
        ['/v1/chat/completions', user([image(`http://169.254.169.254/${word()}`)])],
        ['/v1/chat/completions', user([image(`ftp://${word()}/`)])],
        ['/v1/chat/completions', user([image(`data:${word()};base64,${word()}`)])],
        ['/v1/chat/completions', user([image(broken)])],
        ['/v1/chat/completions', user(`${word()} `.repeat(50_000))],
        [
          '/v1/chat/completions',
          { ...user('a'), tools: [tool()], tool_choice: { type: 'function', function: { name: word() } } },
        ],
        [
          '/v1/chat/completions',
          { ...user('a'), response_format: { type: 'grammar', grammar: `root ::= "${word()}" ${word()}` } },
        ],
        [
          '/v1/chat/completions',
          {
            ...user('a'),
            response_format: {
              type: 'json_schema',
              json_schema: { name: 'a', schema: { type: word(), $ref: `#/${word()}` } },
            },
          },
        ],
        ['/v1/chat/completions', { ...user('a'), logit_bias: { [word()]: 1 } }],
        ['/v1/completions', { model: 'pocket', prompt: { [word()]: 1 } }],
        ['/v1/responses', { model: 'pocket', input: word(), previous_response_id: word() }],
        ['/v1/messages', { model: word(), max_tokens: 5, messages: [{ role: 'user', content: word() }] }],
        ['/v1/messages', { model: 'pocket', max_tokens: word(), messages: word() }],
        ['/api/chat', { model: word(), messages: [{ role: 'user', content: word() }] }],
        ['/api/generate', { model: 'pocket', prompt: word(), images: [word()] }],
        ['/api/show', { model: word() }],
        ['/api/pull', { model: `${word()}/${word()}`, stream: false }],
      ]
      for (const [url, body] of bad) {
        const { status } = await post(url, body)
        expect([url, status, status >= 400 && status < 600 && status !== 500]).toEqual([url, status, true])
      }
      const get = (url: string, headers: Record<string, string> = {}, method = 'GET') =>
        send(server.url + url, { method, headers: { authorization: `Bearer ${secret}`, ...headers } })
      for (const url of [
        `/v1/${word()}`,
        `/v1/models/${word()}`,
        `/v1/responses/${word()}`,
        `/${word()}?a=${word()}`,
        `/v1/models?api_key=${secret}`,
        `/%zz${word()}`,
      ])
        await get(url)
      await get('/v1/models', { host: `${word()}.example.com` })
      await get('/v1/models', { origin: `https://${word()}.example.com` })
      await get('/v1/models', { 'x-request-id': `${word()} with a space` })
      await get(`/admin/models/${word()}`, { authorization: `Bearer ${administrator}` }, 'DELETE')
      await post('/v1/chat/completions', word(), { ...headersOf(secret), 'content-type': `text/${word()}` })
      await post('/v1/chat/completions', word(), { ...headersOf(secret), 'content-encoding': word() })

      // Keys of all kinds, wherever clients put them.
      for (const key of keys)
        for (const headers of [
          headersOf(key),
          { 'x-api-key': key },
          { authorization: `Basic ${btoa(key)}` },
          { authorization: key },
        ])
          for (const url of ['/v1/models', '/metrics', '/admin/models']) await get(url, headers)

      // An engine that dies in the middle of answers.
      const long = { ...user(`Tell me of ${word()}`), max_tokens: 3000, ignore_eos: true }
      const dying = [post('/v1/chat/completions', long), post('/v1/chat/completions', { ...long, stream: true })]
      await sleep(500)
      for (const { pid } of childrenRunning('engine-process.js', server.pid)) process.kill(pid, 'SIGKILL')
      await Promise.all(dying)
      await vi.waitFor(async () => expect((await post('/v1/chat/completions', user(word()))).status).toBe(200), patient)
      // A client that leaves, and an end in the middle of an answer.
      const over = new AbortController()
      await fetch(`${server.url}/v1/chat/completions`, {
        ...{ method: 'POST', headers: headersOf(secret), signal: over.signal },
        body: JSON.stringify({ ...long, stream: true }),
      })
      over.abort()
      const { stdout, stderr } = await oriel(['ps'], {
        env: { ORIEL_PORT: new URL(server.url).port, ORIEL_API_KEY: wrong[0] ?? '' },
      })
      const last = post('/v1/chat/completions', { ...long, stream: true }).catch(() => {})
      await sleep(300)
      const ended = new Promise((resolve) => server.child.once('exit', resolve))
      server.child.kill('SIGTERM')
      await Promise.all([ended, last])

      const written = [readFileSync(file, 'utf8'), server.out, stdout, stderr].join('\n')
      // It is the log of this run, and it says what happened.
      for (const happened of [
        'a request was answered',
        'a request was refused',
        'the engine process died',
        '"level":20',
      ])
        expect(written).toContain(happened)
      const found = (texts: readonly string[]) => texts.filter((text) => written.includes(text))
      expect(found(said)).toEqual([])
      expect(found(keys.flatMap(formsOf))).toEqual([])
      expect(found([...new Set(answers)])).toEqual([])
      expect(found([picture, photo].flatMap(piecesOf))).toEqual([])
      expect(found([there])).toEqual([])
    } finally {
      server.child.kill('SIGKILL')
      host.close()
      await accounts.close()
      closeSync(log)
      rmSync(folder, { recursive: true, force: true })
    }
  },
  300_000,
)

/** A key as it may be written: whole, more of it than is shown, and what it is stored as. */
function formsOf(key: string): string[] {
  const sha = createHash('sha256').update(key)
  const hash = sha.digest()
  return [
    key.slice(0, 11),
    key.slice(-8),
    btoa(key).slice(0, 16),
    hash.toString('hex'),
    hash.toString('base64').slice(0, 40),
    hash.toString('base64url'),
  ]
}

/** What a model said in a response: its texts, of whole answers and of streams. */
function wordsOf(response: string): string[] {
  const texts: string[] = []
  const visit = (value: unknown, name = ''): void => {
    if (
      typeof value === 'string' &&
      ['content', 'text', 'response', 'arguments', 'thinking', 'output_text'].includes(name)
    ) {
      if (value.length > 12) texts.push(value)
    } else if (typeof value === 'object' && value !== null)
      for (const [key, inner] of Object.entries(value)) visit(inner, Array.isArray(value) ? name : key)
  }
  let joined = ''
  for (const line of response.split('\n')) {
    const json = line.replace(/^data: /, '')
    if (!json.startsWith('{')) continue
    const event = JSON.parse(json)
    visit(event)
    joined += event.choices?.[0]?.delta?.content ?? event.delta?.text ?? event.message?.content ?? ''
  }
  return joined.length > 12 ? [...texts, joined] : texts
}

/** Pieces of a file, as bytes, base64 and hexadecimal. */
function piecesOf(file: Buffer): string[] {
  const pieces: string[] = []
  // The first bytes of all PNG files are the same.
  for (let at = 48; at + 24 <= file.length; at += 24) {
    const piece = file.subarray(at, at + 24)
    pieces.push(piece.toString('base64'), piece.toString('hex'), piece.toString('latin1'))
  }
  return pieces
}
