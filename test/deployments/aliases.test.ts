import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Ask, type Backend, OrielError } from '../../src/app.ts'
import { eventsOf, postJson } from '../support/http.ts'
import { plainBackend } from '../support/plain-backend.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

const asked = ({ prompt }: Ask): string => JSON.stringify(prompt)

/** Fails as it is told to. */
function frail(id: string): Backend {
  const plain = plainBackend(id)
  return {
    ...plain,
    info: { ...plain.info, inputs: [] },
    async answer(ask, signal) {
      if (asked(ask).includes('be full')) throw new OrielError('overloaded', 'The queue is full.', { retryAfter: 7 })
      if (asked(ask).includes('be strict')) throw new OrielError('invalid', 'No.', { param: 'prompt' })
      const answer = await plain.answer(ask, signal)
      const failsAfter = /fail after (\d)/.exec(asked(ask))?.[1]
      if (failsAfter === undefined) return answer
      async function* failing() {
        let parts = 0
        for await (const event of answer.events) {
          if (parts++ === Number(failsAfter)) throw new OrielError('engine_failed', 'The engine ended.')
          yield event
        }
      }
      return { ...answer, events: failing() }
    },
  }
}

describe('an alias', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await startServer(
      {
        model: [],
        aliases: {
          ...{ same: 'sound', either: ['frail', 'sound'], late: ['gone', 'nowhere', 'sound'] },
          ...{ never: ['gone', 'nowhere'], frail: ['frail', 'frailer'], ends: ['frail', 'gone'] },
        },
      },
      [frail('frail'), frail('frailer'), plainBackend('sound')],
    )
  })
  afterAll(() => server.close())

  const ask = async (model: string, content: unknown, more: object = {}) => {
    const response = await postJson(`${server.url}/v1/chat/completions`, {
      model,
      messages: [{ role: 'user', content }],
      ...more,
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text }
  }
  it('is another name of a model, and the answer has the name that was asked for', async () => {
    const { status, text } = await ask('same', 'Hello')
    expect([status, JSON.parse(text).model]).toEqual([200, 'same'])
    const named = await fetch(`${server.url}/v1/models/same`).then((response) => response.json())
    expect(named).toMatchObject({ id: 'sound', aliases: expect.arrayContaining(['same', 'late']) })
  })

  it('goes on to the next model if one does not exist, is full or fails before its first word', async () => {
    expect((await ask('late', 'Hello')).status).toBe(200)
    expect((await ask('either', 'be full')).status).toBe(200)
    expect((await ask('either', 'fail after 0')).status).toBe(200)
    const events = eventsOf<{ error?: unknown }>((await ask('either', 'fail after 0', { stream: true })).text)
    expect(events.length).toBeGreaterThan(1)
    expect(events.filter(({ error }) => error !== undefined)).toEqual([])
  })

  it('goes on to a model that takes images', async () => {
    const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }
    expect((await ask('frail', [image])).status).toBe(400)
    expect((await ask('either', [image])).status).toBe(200)
  })

  it('stays with a model that has begun to answer', async () => {
    const { text } = await ask('either', 'fail after 1', { stream: true })
    expect(eventsOf<{ error?: unknown }>(text).at(-1)).toMatchObject({ error: { message: 'The engine ended.' } })
  })

  it('stays with a model that finds the request wrong', async () => {
    expect(await ask('either', 'be strict')).toMatchObject({ status: 400, text: expect.stringContaining('No.') })
  })

  it('tells why the last one failed that exists, or that there is none', async () => {
    expect(await ask('never', 'Hello')).toMatchObject({ status: 404, text: expect.stringContaining('not found') })
    const ended = await ask('ends', 'be full')
    expect([ended.status, ended.headers.get('retry-after')]).toEqual([503, '7'])
  })

  it('may be the name of a model, which it means first', async () => {
    expect((await ask('frail', 'Hello')).status).toBe(200)
    expect((await ask('frail', 'be full')).status).toBe(503)
  })

  it('is counted and charged by the model that answers', async () => {
    const tokensOf = async (): Promise<Record<string, number>> => {
      const query = `start_time=${Math.floor(Date.now() / 1000) - 3600}&bucket_width=1d&group_by=model`
      const response = await fetch(`${server.url}/v1/organization/usage/completions?${query}`)
      const { data } = (await response.json()) as { data: { results: { model: string; output_tokens: number }[] }[] }
      const results = data.flatMap((bucket) => bucket.results)
      return Object.fromEntries(results.map(({ model, output_tokens }) => [model, output_tokens]))
    }
    // The rows of the tests before are written first.
    expect((await ask('frailer', 'Hello')).status).toBe(200)
    const before = await vi.waitFor(async () => {
      const tokens = await tokensOf()
      expect(tokens.frailer).toBeGreaterThan(0)
      return tokens
    }, patient)
    expect((await ask('either', 'be full')).status).toBe(200)
    await vi.waitFor(async () => {
      const { sound = 0, ...others } = await tokensOf()
      expect(sound).toBeGreaterThan(before.sound ?? 0)
      expect(others).toEqual({ ...others, ...(before.frail !== undefined && { frail: before.frail }) })
    }, patient)
  })
})
