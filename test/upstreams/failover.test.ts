import type { ServerResponse } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { createOriel, type Oriel } from '../../src/app.ts'
import { postJson } from '../support/http.ts'
import { shortRun } from '../support/long.ts'
import { failing, type ReplyingUpstream, startUpstream } from '../support/replying-upstream.ts'
import { patient } from '../support/wait.ts'

const chunk = (delta: object, finish_reason: string | null = null): string =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason }] })}\n\n`
const begin = (response: ServerResponse): void => {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(chunk({ role: 'assistant', content: 'Yes' }))
}
const answer = (response: ServerResponse): void => {
  begin(response)
  response.end(`${chunk({ content: '.' })}${chunk({}, 'stop')}data: [DONE]\n\n`)
}

describe('a server in front of three others', () => {
  let all: ReplyingUpstream[] = []
  let oriel: Oriel
  let url: string

  beforeAll(async () => {
    all = await Promise.all([1, 2, 3].map(() => startUpstream()))
  })
  beforeEach(async () => {
    for (const upstream of all) {
      upstream.reply = answer
      upstream.heard.length = 0
      upstream.left = 0
    }
    await oriel?.close()
    const upstreams = all.map(({ url }, at) => ({ name: `number-${at}`, url, api: 'openai' as const, models: ['a'] }))
    oriel = await createOriel({ model: [], upstreams, server: { port: 0 }, logLevel: 'silent' })
    ;({ url } = await oriel.listen())
  })
  afterAll(async () => {
    await oriel.close()
    await Promise.all(all.map((upstream) => upstream.close()))
  })

  type Message = { role: string; content: string }
  const send = (content: string | Message[], more: object = {}, headers: Record<string, string> = {}) => {
    const messages = typeof content === 'string' ? [{ role: 'user', content }] : content
    return postJson(`${url}/v1/chat/completions`, { model: 'a', messages, ...more }, { headers })
  }
  const chatsOf = ({ heard }: ReplyingUpstream): number => heard.filter(({ path }) => path.includes('chat')).length
  const asked = (): number[] => all.map(chatsOf)
  /** Which upstream answers. */
  const placeOf = async (...asked: Parameters<typeof send>): Promise<number> => {
    const before = all.map(chatsOf)
    expect(await (await send(...asked)).text()).toContain('Yes')
    return all.findIndex((upstream, at) => chatsOf(upstream) > (before[at] ?? 0))
  }
  const total = (): number => asked().reduce((sum, one) => sum + one, 0)

  it.skipIf(shortRun)('spreads chats, and keeps each where it began', async () => {
    const places = new Set<number>()
    for (let chat = 0; chat < 8; chat++) {
      const messages = [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: `Is ${chat} a number?` },
      ]
      const place = await placeOf(messages)
      places.add(place)
      for (let turn = 0; turn < 2; turn++) {
        messages.push({ role: 'assistant', content: 'Yes.' }, { role: 'user', content: 'And the next?' })
        expect(await placeOf(messages)).toBe(place)
      }
    }
    expect(places.size).toBeGreaterThan(1)
  })

  it('brings together what the client says belongs together', async () => {
    for (const [more, headers] of [
      [{ prompt_cache_key: 'one' }, {}],
      [{}, { 'x-session-affinity': 'one' }],
      [{ user: 'one' }, {}],
    ] as const) {
      const places = new Set<number>()
      for (let number = 0; number < 8; number++) places.add(await placeOf(`Is ${number} a number?`, more, headers))
      expect(places.size).toBe(1)
    }
    // The first of them that there is decides.
    for (const [more, headers] of [
      [{ prompt_cache_key: 'one' }, { 'x-session-affinity': 'two' }],
      [{}, { 'x-session-affinity': 'one' }],
    ] as const) {
      const places = new Set<number>()
      for (let number = 0; number < 8; number++)
        places.add(await placeOf(`Is ${number} a number?`, { ...more, user: `user ${number}` }, headers))
      expect(places.size).toBe(1)
    }
  })

  it('asks another one if one closes the connection before its answer', async () => {
    const place = await placeOf('What?')
    const upstream = all[place] as ReplyingUpstream
    upstream.reply = (response) => response.destroy()
    for (let time = 0; time < 10; time++) expect(await placeOf(`What ${time}?`)).toBeGreaterThanOrEqual(0)
    upstream.reply = (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
      setTimeout(() => response.destroy(), 50)
    }
    expect(await placeOf('What?')).toBeGreaterThanOrEqual(0)
  })

  it('never asks another one after the first token: the client is told that the answer broke off', async () => {
    for (const upstream of all)
      upstream.reply = (response) => {
        begin(response)
        setTimeout(() => response.destroy(), 50)
      }
    const stream = await (await send('What?', { stream: true })).text()
    expect(stream).toContain('Yes')
    expect(stream).toContain('upstream_broke_off')
    expect((await send('What?')).status).toBeGreaterThanOrEqual(500)
    expect(total()).toBe(2)
  })

  it('asks nobody again before the time that they want, and tells it to the client', async () => {
    for (const [at, upstream] of all.entries())
      upstream.reply = failing(429, { error: { message: 'slow' } }, { 'retry-after': String(30 + 10 * at) })
    const first = await send('What?')
    expect([first.status, first.headers.get('retry-after')]).toEqual([503, '30'])
    expect(asked()).toEqual([1, 1, 1])
    const second = await send('What else?')
    expect([second.status, Number(second.headers.get('retry-after'))]).toEqual([503, expect.closeTo(30, -1)])
    expect(asked()).toEqual([1, 1, 1])
  })

  it('does not ask others what one has called wrong', async () => {
    for (const upstream of all) upstream.reply = failing(400, { error: { message: 'Temperature is wrong.' } })
    const refused = await send('What?')
    expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining('Temperature is wrong.')])
    expect(total()).toBe(1)
  })

  it('ends the work of an upstream whose client has left', async () => {
    for (const upstream of all) upstream.reply = begin
    const leaving = new AbortController()
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      signal: leaving.signal,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'a', stream: true, messages: [{ role: 'user', content: 'What?' }] }),
    })
    await response.body?.getReader().read()
    leaving.abort()
    await vi.waitFor(() => expect(all.reduce((sum, { left }) => sum + left, 0)).toBe(1), patient)
  })
})
