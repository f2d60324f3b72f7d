import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { startServer, type TestServer } from '../support/server.ts'

let oriel: TestServer
beforeAll(async () => {
  oriel = await startServer()
})
afterAll(() => oriel.close())

const ask = async (stream: boolean): Promise<void> => {
  const response = await postJson(`${oriel.url}/v1/chat/completions`, {
    model: 'pocket',
    stream,
    max_tokens: 16,
    messages: [
      {
        role: 'user',
        content: [
          { type: 'image_url', image_url: { url: dataUrl(await shape('red')) } },
          { type: 'text', text: 'What is in this image?' },
        ],
      },
    ],
  })
  await response.text()
}

const read = async (): Promise<(pattern: string) => number> => {
  const response = await fetch(`${oriel.url}/metrics`)
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
  const text = await response.text()
  return (name) => {
    const line = text.split('\n').find((one) => one.startsWith(`${name} `))
    return line === undefined ? Number.NaN : Number(line.slice(name.length + 1))
  }
}

describe('GET /metrics', () => {
  it('reports tokens, phases, responses and the state of the engine', async () => {
    await ask(false)
    await ask(true)
    await fetch(`${oriel.url}/v1/models/none`)
    const value = await read()
    expect(value('oriel_tokens_total{model="pocket",kind="image"}')).toBe(2 * 42)
    expect(value('oriel_tokens_total{model="pocket",kind="completion"}')).toBeGreaterThan(10)
    // The second request repeats the first: all of its prompt but the last token is cached.
    const prompt = value('oriel_tokens_total{model="pocket",kind="prompt"}')
    expect(value('oriel_tokens_total{model="pocket",kind="cached"}')).toBe(prompt / 2 - 1)
    for (const phase of ['fetch', 'decode', 'media', 'queue', 'encode', 'prefill', 'first_token', 'generation'])
      expect(value(`oriel_phase_seconds_count{model="pocket",phase="${phase}"}`), phase).toBe(2)
    const chat = 'method="POST",route="/v1/chat/completions",status="200"'
    expect(value(`oriel_http_response_seconds_count{${chat}}`)).toBe(2)
    const missing = 'method="GET",route="/v1/models/*",status="404"'
    expect(value(`oriel_http_response_seconds_count{${missing}}`)).toBe(1)
    expect(value('oriel_engine_running_sequences{model="pocket"}')).toBe(0)
    expect(value('oriel_engine_waiting_requests{model="pocket"}')).toBe(0)
    expect(value('oriel_engine_stored_cells{model="pocket"}')).toBeGreaterThan(30)
    expect(value('oriel_engine_encoder_cache_bytes{model="pocket"}')).toBeGreaterThan(1000)
  })

  it('reports how late the event loop is, without the time between two samples', async () => {
    const delay = async (): Promise<number> => (await read())('oriel_event_loop_delay_seconds{quantile="0.5"}')
    await delay()
    // The samples are 100 ms apart, and were in the figure.
    await vi.waitFor(async () => expect(await delay()).toBeLessThan(0.05), { timeout: 60_000, interval: 1000 })
    expect(await (await fetch(`${oriel.url}/metrics`)).text()).not.toContain('eventloop_lag')
  })

  it('works while no engine runs', async () => {
    oriel.kill()
    const value = await read()
    expect(value('oriel_tokens_total{model="pocket",kind="image"}')).toBe(2 * 42)
  })
})
