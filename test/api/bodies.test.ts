import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { root } from '../support/cli.ts'
import { postJson } from '../support/http.ts'
import { inputs, shortRun } from '../support/long.ts'
import { type Upload, upload } from '../support/raw.ts'

/** A server with its own process, whose memory and log can be read. */
let server: ChildProcess
let url: string
let log = ''
beforeAll(async () => {
  server = spawn(process.execPath, [`${root}bin/oriel.js`, 'serve', '--port', '0'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ORIEL_LOG_LEVEL: 'info' },
  })
  server.stderr?.setEncoding('utf8').on('data', (part) => {
    log += part
  })
  let out = ''
  for await (const part of server.stdout ?? []) {
    out += part
    if (out.includes('curl ') && out.endsWith('\n\n')) break
  }
  url = /http:\/\/\S+:\d+/.exec(out)?.[0] ?? ''
})
afterAll(() => {
  server.kill('SIGKILL')
})

/** Most that the server's process has had in memory, in MB. */
const mostMemory = (): number =>
  Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]) / 1000)
const onLinux = process.platform === 'linux'

const post = (path: string, body: string | Buffer) =>
  fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
const chat = (over: object = {}) =>
  postJson(`${url}/v1/chat/completions`, {
    model: 'pocket',
    max_tokens: 4,
    messages: [{ role: 'user', content: 'Hello' }],
    ...over,
  })
const refusal = async (response: Response) => {
  const { error } = (await response.json()) as { error: { message: string; code: string; param: string | null } }
  return [response.status, error.code, error.param, error.message] as const
}
const many = (item: string, count: number): string => Array(count).fill(item).join(',')

describe('a body', () => {
  const tooComplex: [what: string, path: string, body: () => string, param: string | null, says: RegExp][] = [
    [
      'brackets in brackets',
      '/v1/chat/completions',
      () => `{"model":"pocket","messages":${'['.repeat(5_000_000)}`,
      'messages',
      /is nested more than 256 deep, .* in "messages"/,
    ],
    [
      'millions of prompts',
      '/v1/completions',
      () => `{"model":"pocket","prompt":[${many('[1]', 3_900_000)}]}`,
      'prompt',
      /has more than 100000 strings, arrays and objects, .* in "prompt"/,
    ],
    [
      'hundreds of thousands of messages',
      '/v1/messages',
      () => `{"model":"pocket","messages":[${many('{"role":"user","content":"a"}', 350_000)}]}`,
      null,
      /has more than 100000 strings/,
    ],
    [
      'millions of numbers',
      '/v1/completions',
      () => `{"model":"pocket","prompt":[${many('1', 3_000_000)}]}`,
      'prompt',
      /has more than 2000000 items in its arrays/,
    ],
    [
      'many parameters',
      '/v1/chat/completions',
      () => `{${Array.from({ length: 20_000 }, (_, i) => `"k${i}":1`).join(',')}}`,
      null,
      /has an object with more than 10000 members/,
    ],
    [
      'a long name',
      '/v1/chat/completions',
      () => `{"${'k'.repeat(200_000)}":1}`,
      null,
      /has a name that is longer than 16000 bytes/,
    ],
  ]
  it.each(tooComplex)('is refused for %s as soon as they arrive', async (_, path, body, param, says) => {
    const [status, code, at, message] = await refusal(await post(path, body()))
    if (path !== '/v1/messages') expect([code, at]).toEqual(['body_too_complex', param])
    expect([status, message]).toEqual([413, expect.stringMatching(says)])
  })

  it('has a bounded number of messages and of their parts', async () => {
    const messages = (count: number) =>
      `{"model":"pocket","messages":[${many('{"role":"user","content":"a"}', count)}]}`
    const says = 'messages must have at most 4096 items; found 19000 items.'
    expect(await refusal(await post('/v1/chat/completions', messages(19_000)))).toEqual([
      400,
      'invalid_value',
      'messages',
      says,
    ])
    expect(await refusal(await post('/v1/chat/completions', messages(4096)))).toEqual([
      ...[400, 'context_length_exceeded', 'messages', expect.anything()],
    ])
    const parts = `[${many('{"type":"text","text":"a"}', 19_000)}]`
    const body = `{"model":"pocket","input":[{"role":"user","content":${parts.replaceAll('"text"', '"input_text"').replaceAll('"input_text":"a"', '"text":"a"')}}]}`
    expect((await refusal(await post('/v1/responses', body))).slice(0, 3)).toEqual([400, 'too_many_parts', 'input'])
  })

  it('may be as large as people need', async () => {
    // A million token ids, ten megabytes of base64, a long text, and a text of escapes. Each is refused for its content only.
    expect(
      await refusal(await post('/v1/completions', `{"model":"pocket","prompt":[${many('123', 1_000_000)}]}`)),
    ).toEqual([400, 'context_length_exceeded', 'prompt', expect.stringContaining('has 1000000')])
    const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(9_900_000)}` } }
    expect(await refusal(await chat({ messages: [{ role: 'user', content: [image] }] }))).toEqual([
      415,
      'unsupported_image',
      'messages[0].content[0].image_url',
      expect.anything(),
    ])
    for (const text of ['word '.repeat(3_000_000), '\u0001'.repeat(2_000_000), 'ü€😀'.repeat(1_500_000)])
      expect((await refusal(await chat({ messages: [{ role: 'user', content: text }] })))[1]).toBe(
        'context_length_exceeded',
      )
  })

  it('is refused when it is longer than it may be, with or without a declared length', async () => {
    const declared = upload(url, 16_000_001)
    expect(await declared.answer).toMatch(/^HTTP\/1\.1 413 .*"code":"body_too_large"/s)
    const chunked = upload(url, 'chunked')
    const chunk = `${(64_000).toString(16)}\r\n${' '.repeat(64_000)}\r\n`
    // White space without end is no JSON.
    for (let i = 0; i < 300; i++) chunked.socket.write(chunk)
    expect(await chunked.answer).toMatch(/^HTTP\/1\.1 (413|400) /)
    for (const { socket } of [declared, chunked]) socket.destroy()
  })

  it('is logged as 499 when its client leaves', async () => {
    log = ''
    const { socket } = upload(url, 1000)
    socket.write('{"model":')
    await sleep(100)
    socket.destroy()
    await vi.waitFor(() => expect(log).toContain('"status":499'), 10_000)
    expect(log).not.toContain('"level":50')
  })

  it('leaves nothing that a client wrote in the log, and its text in no answer', async () => {
    log = ''
    const secrets = ['My SSN is 078-05-1120', 'hunter2']
    const bodies = secrets.flatMap((secret) => [
      { messages: secret },
      { messages: [{ role: 'user', content: [secret] }] },
      { temperature: secret },
      { metadata: secret },
      { logit_bias: { [secret]: 1 } },
      { chat_template_kwargs: { [secret]: {} } },
      { tools: [{ type: 'function', function: { name: `${secret}!` } }] },
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: `${secret}:x` } }] }] },
      { response_format: { type: 'grammar', grammar: `root ::= ${secret}` } },
    ])
    for (const body of bodies) {
      const response = await chat(body)
      expect([body, response.status >= 400 && response.status < 500]).toEqual([body, true])
      const text = await response.text()
      if ('messages' in body || 'temperature' in body || 'metadata' in body) expect(text).not.toContain('078-05')
    }
    await chat({ model: 'hunter2' })
    await vi.waitFor(() => expect(log.match(/a request was refused/g)?.length).toBe(bodies.length + 1), 10_000)
    expect(log).not.toMatch(/SSN|078-05|hunter2/)
    expect(log).toContain('"param":"messages"')
  })

  it('names at most twenty ignored parameters in a header', async () => {
    const unknown = Object.fromEntries(Array.from({ length: 320 }, (_, i) => [`${'ü'.repeat(100)}${i}`, i]))
    const header = (await chat(unknown)).headers.get('x-oriel-ignored-parameters') ?? ''
    expect(header).toMatch(/^(%C3%BC){16}\.\.\., .*, and 300 more$/)
    expect(header.length).toBeLessThan(2500)
  })
})

describe('unfinished uploads', () => {
  let uploads: Upload[] = []
  afterAll(() => {
    for (const { socket } of uploads) socket.destroy()
  })
  const begin = (count: number, from?: string): void => {
    const part = `{"model":"pocket","messages":[{"role":"user","content":"${'A'.repeat(14_000_000)}`
    for (let i = 0; i < count; i++) {
      const one = upload(url, 15_000_000, from)
      one.socket.write(part)
      uploads.push(one)
    }
  }

  it.skipIf(shortRun)('are bounded in memory, and harm nobody', async () => {
    begin(inputs(40, 120))
    const answers = uploads.map(({ answer }) => answer)
    const refused = await Promise.race(answers)
    expect(refused).toMatch(/^HTTP\/1\.1 503 .*retry-after: 5\r\n.*"code":"too_many_bodies"/s)
    // The same client with a small body.
    expect((await chat()).status).toBe(200)
    if (!onLinux) return
    expect(mostMemory()).toBeLessThan(600)
    // Another client has its own share.
    const other = upload(url, 15_000_000, '127.0.0.9')
    other.socket.write('{"model":"pocket","messages":[]}'.padEnd(15_000_000, '\n'))
    expect(await other.answer).toMatch(/^HTTP\/1\.1 400 .*messages must have at least 1 item/s)
  })

  it.skipIf(shortRun)('end when their bytes stay away', async () => {
    const code = 'body_timeout'
    const answers = await Promise.all(uploads.map(({ answer }) => answer))
    const late = answers.filter((answer) => answer.includes(code))
    expect(late.length).toBeGreaterThan(0)
    expect(late[0]).toMatch(/^HTTP\/1\.1 408 .*did not arrive in time: only \d+ bytes of it came\./s)
    // Their memory is free again.
    uploads = []
    expect((await chat({ messages: [{ role: 'user', content: 'a'.repeat(15_000_000) }] })).status).toBe(400)
  })
})
