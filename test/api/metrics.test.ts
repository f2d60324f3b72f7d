import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { shortRun } from '../support/long.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

let oriel: TestServer
beforeAll(async () => {
  oriel = await startServer()
})
afterAll(() => oriel.close())

const ask = async (body: object, signal?: AbortSignal): Promise<Response> =>
  postJson(
    `${oriel.url}/v1/chat/completions`,
    {
      model: 'pocket',
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
      ...body,
    },
    signal ? { signal } : {},
  )

const textOf = async (): Promise<string> => {
  const response = await fetch(`${oriel.url}/metrics`)
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
  return response.text()
}

/** The numbers of all series by their names and labels. */
const read = async (): Promise<(series: string) => number> => {
  const lines = (await textOf()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const numbers = new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), line]))
  return (series) => Number(numbers.get(series)?.slice(series.length + 1) ?? Number.NaN)
}

const pocket = '{model="pocket"}'
const chats = '{model="pocket",operation="chat"}'

describe('GET /metrics', () => {
  it('has every series of a loaded model before the first request, at zero', async () => {
    const value = await read()
    for (const name of ['prompt_tokens', 'cached_prompt_tokens', 'image_prompt_tokens', 'images', 'generated_tokens'])
      expect(value(`oriel_${name}_total${pocket}`), name).toBe(0)
    expect(value(`oriel_time_to_first_token_seconds_count${chats}`)).toBe(0)
    expect(value('oriel_phase_seconds_count{model="pocket",phase="queue"}')).toBe(0)
    for (const reason of ['stop', 'length', 'tool_calls', 'content_filter', 'abort', 'error'])
      expect(value(`oriel_choices_total{model="pocket",reason="${reason}"}`), reason).toBe(0)
    expect(value('vllm:num_requests_waiting{model_name="pocket",engine="0"}')).toBe(0)
    expect(value('vllm:e2e_request_latency_seconds_count{model_name="pocket",operation="chat",engine="0"}')).toBe(0)
  })

  it('reports tokens, phases, responses and the state of the engine', async () => {
    await (await ask({})).text()
    await (await ask({ stream: true })).text()
    await fetch(`${oriel.url}/v1/models/none`)
    const value = await read()
    expect(value(`oriel_image_prompt_tokens_total${pocket}`)).toBe(2 * 110)
    expect(value(`oriel_images_total${pocket}`)).toBe(2)
    const generated = value(`oriel_generated_tokens_total${pocket}`)
    expect(generated).toBeGreaterThan(10)
    // The second request repeats the first: all of its prompt but the last token is cached.
    const prompt = value(`oriel_prompt_tokens_total${pocket}`)
    expect(value(`oriel_cached_prompt_tokens_total${pocket}`)).toBe(prompt / 2 - 1)
    expect(value(`oriel_answer_prompt_tokens_sum${chats}`)).toBe(prompt)
    expect(value(`oriel_answer_generated_tokens_sum${chats}`)).toBe(generated)
    for (const phase of ['load', 'fetch', 'decode', 'media', 'queue', 'encode', 'prefill', 'generation'])
      expect(value(`oriel_phase_seconds_count{model="pocket",phase="${phase}"}`), phase).toBe(2)
    for (const name of ['answer', 'time_to_first_token', 'time_per_output_token'])
      expect(value(`oriel_${name}_seconds_count${chats}`), name).toBe(2)
    // The first part of an answer may have several tokens.
    const gaps = value(`oriel_inter_token_latency_seconds_count${pocket}`)
    expect(gaps).toBeGreaterThan(0)
    expect(gaps).toBeLessThanOrEqual(generated - 2)
    expect(value('oriel_choices_total{model="pocket",reason="stop"}')).toBe(2)
    const chat = 'method="POST",route="/v1/chat/completions",status="200"'
    expect(value(`oriel_http_response_seconds_count{${chat}}`)).toBe(2)
    expect(value(`oriel_http_response_seconds_sum{${chat}}`)).toBeGreaterThanOrEqual(
      value(`oriel_answer_seconds_sum${chats}`),
    )
    const missing = 'method="GET",route="/v1/models/*",status="404"'
    expect(value(`oriel_http_response_seconds_count{${missing}}`)).toBe(1)
    expect(value(`oriel_engine_running_sequences${pocket}`)).toBe(0)
    expect(value(`oriel_engine_waiting_requests${pocket}`)).toBe(0)
    expect(value(`oriel_engine_stored_kv_cells${pocket}`)).toBeGreaterThan(30)
    expect(value(`oriel_engine_kv_use_ratio${pocket}`)).toBe(0)
    expect(value(`oriel_engine_preemptions_total${pocket}`)).toBe(0)
    expect(value(`oriel_engine_encoder_cache_bytes${pocket}`)).toBeGreaterThan(1000)
  })

  it('has the same numbers by the names that dashboards and autoscalers read of vLLM', async () => {
    const value = await read()
    const vllm = (name: string, more = '') => value(`vllm:${name}{model_name="pocket"${more},engine="0"}`)
    expect(vllm('prompt_tokens_total')).toBe(value(`oriel_prompt_tokens_total${pocket}`))
    expect(vllm('prefix_cache_queries_total')).toBe(value(`oriel_prompt_tokens_total${pocket}`))
    expect(vllm('prefix_cache_hits_total')).toBe(value(`oriel_cached_prompt_tokens_total${pocket}`))
    expect(vllm('generation_tokens_total')).toBe(value(`oriel_generated_tokens_total${pocket}`))
    expect(vllm('request_success_total', ',finished_reason="stop"')).toBe(2)
    for (const name of ['num_requests_running', 'num_requests_waiting', 'num_preemptions_total'])
      expect(vllm(name), name).toBe(0)
    for (const name of ['kv_cache_usage_perc', 'gpu_cache_usage_perc']) expect(vllm(name), name).toBe(0)
    const first = value(`oriel_time_to_first_token_seconds_sum${chats}`)
    expect(vllm('time_to_first_token_seconds_sum', ',operation="chat"')).toBe(first)
    expect(
      value('vllm:time_to_first_token_seconds_bucket{le="640",model_name="pocket",operation="chat",engine="0"}'),
    ).toBe(2)
    const gaps = value(`oriel_inter_token_latency_seconds_count${pocket}`)
    for (const name of ['inter_token_latency_seconds', 'time_per_output_token_seconds'])
      expect(vllm(`${name}_count`), name).toBe(gaps)
    for (const [name, phase] of [
      ['queue', 'queue'],
      ['prefill', 'prefill'],
      ['decode', 'generation'],
    ])
      expect(vllm(`request_${name}_time_seconds_sum`), name).toBe(
        value(`oriel_phase_seconds_sum{model="pocket",phase="${phase}"}`),
      )
  })

  it('shows what is running, and the KV memory that it holds', async () => {
    const leaving = new AbortController()
    const response = await ask({ stream: true, ignore_eos: true, max_tokens: 3900 }, leaving.signal)
    await response.body?.getReader().read()
    // The engine tells of its memory a few times a second.
    const during = await vi.waitFor(async () => {
      const now = await read()
      expect(now('vllm:kv_cache_usage_perc{model_name="pocket",engine="0"}')).toBeGreaterThan(0)
      return now
    }, patient)
    expect(during('vllm:num_requests_running{model_name="pocket",engine="0"}')).toBe(1)
    expect(during('vllm:kv_cache_usage_perc{model_name="pocket",engine="0"}')).toBeLessThan(1)
    leaving.abort()
    await vi.waitFor(async () => {
      const later = await read()
      expect(later('oriel_choices_total{model="pocket",reason="abort"}')).toBe(1)
      expect(later('oriel_http_response_seconds_count{method="POST",route="/v1/chat/completions",status="499"}')).toBe(
        1,
      )
    }, patient)
  })

  it.skipIf(shortRun)('counts how late the event loop is, without the time between two samples', async () => {
    const value = await read()
    const all = value('oriel_event_loop_delay_seconds_count')
    expect(all).toBeGreaterThan(0)
    await vi.waitFor(
      async () => {
        const later = await read()
        const samples = later('oriel_event_loop_delay_seconds_count') - all
        expect(samples).toBeGreaterThan(10)
        // The samples are 100 ms apart, and were in the figure.
        const bound = 'oriel_event_loop_delay_seconds_bucket{le="0.05"}'
        expect(later(bound) - value(bound)).toBeGreaterThan(samples / 2)
      },
      { timeout: 60_000, interval: 1000 },
    )
    expect(await textOf()).not.toContain('eventloop_lag')
  })

  it('names only counters as such', async () => {
    const types = [...(await textOf()).matchAll(/^# TYPE (\S+) (\w+)$/gm)].map(([, name = '', type]) => [name, type])
    for (const [name = '', type] of types) expect(name.endsWith('_total'), name).toBe(type === 'counter')
  })

  it('works while no engine runs', async () => {
    oriel.kill()
    const value = await read()
    expect(value(`oriel_images_total${pocket}`)).toBe(3)
  })
})
