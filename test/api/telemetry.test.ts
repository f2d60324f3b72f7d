import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { textOf } from '../docs/pages.ts'
import { root, run } from '../support/cli.ts'
import { type Collector, type ReceivedSpan, startCollector } from '../support/collector.ts'
import { dimensions, writeBert } from '../support/embedding-models.ts'
import { postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { shortRun } from '../support/long.ts'
import { startServer, type TestServer } from '../support/server.ts'

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const callerId = '00f067aa0ba902b7'
const secret = 'sk-not-for-others'
const question = 'What is in this image of my living room?'
const folder = mkdtempSync(path.join(tmpdir(), 'oriel-telemetry-'))
const bert = path.join(folder, 'bert.gguf')
const patient = { timeout: 30_000, interval: 50 }

describe('OpenTelemetry', () => {
  let collector: Collector
  let oriel: TestServer
  let image: string
  beforeAll(async () => {
    collector = await startCollector()
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', collector.url)
    vi.stubEnv('OTEL_SERVICE_NAME', 'front-desk')
    vi.stubEnv('OTEL_BSP_SCHEDULE_DELAY', '50')
    vi.stubEnv('OTEL_METRIC_EXPORT_INTERVAL', '200')
    writeBert(bert)
    oriel = await startServer({ model: ['pocket', bert] })
    vi.unstubAllEnvs()
    image = dataUrl(await shape('red'))
  })
  afterAll(async () => {
    await oriel.close()
    await collector.close()
    rmSync(folder, { recursive: true })
  })

  const chat = (body: object, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Response> =>
    postJson(
      `${oriel.url}/v1/chat/completions`,
      {
        model: 'pocket',
        messages: [
          {
            role: 'user',
            content: [
              { type: 'image_url', image_url: { url: image } },
              { type: 'text', text: question },
            ],
          },
        ],
        ...body,
      },
      { headers: { authorization: `Bearer ${secret}`, ...headers }, ...(signal && { signal }) },
    )

  /** The span of a request and its children, by the id of the request. */
  const spansOf = (id: string): Promise<{ span: ReceivedSpan; children: ReceivedSpan[] }> =>
    vi.waitFor(() => {
      const span = collector.spans.find(({ attributes }) => attributes['oriel.request.id'] === id)
      if (span === undefined) throw new Error(`no span of ${id}`)
      return { span, children: collector.spans.filter(({ parent }) => parent === span.id) }
    }, patient)

  it('has a span for a request, which continues the trace of the client', async () => {
    const response = await chat({}, { traceparent: `00-${traceId}-${callerId}-01`, 'x-request-id': 'first' })
    const { usage } = (await response.json()) as { usage: Record<string, number> }
    const { span } = await spansOf('first')
    expect(span).toMatchObject({
      ...{ name: 'chat pocket', kind: 2, status: 0, traceId, parent: callerId },
      resource: { 'service.name': 'front-desk', 'telemetry.sdk.language': 'nodejs' },
      attributes: {
        'http.request.method': 'POST',
        'http.route': '/v1/chat/completions',
        'http.response.status_code': 200,
        'gen_ai.operation.name': 'chat',
        'gen_ai.provider.name': 'oriel',
        'gen_ai.request.model': 'pocket',
        'gen_ai.response.model': 'pocket',
        'gen_ai.response.finish_reasons': ['stop'],
        'gen_ai.usage.input_tokens': usage.prompt_tokens,
        'gen_ai.usage.output_tokens': usage.completion_tokens,
        'gen_ai.usage.cache_read.input_tokens': 0,
        'oriel.usage.images': 1,
        'oriel.usage.image_tokens': 110,
      },
    })
  })

  it('has a child for each phase, with the durations that the response names', async () => {
    image = dataUrl(await shape('blue'))
    const response = await chat({}, { 'x-request-id': 'phases' })
    await response.text()
    const timing = response.headers.get('server-timing') ?? ''
    const { span, children } = await spansOf('phases')
    for (const name of ['media', 'queue', 'encode', 'prefill', 'generation']) {
      const child = children.find((one) => one.name === name)
      const [, ms] = new RegExp(`(?:^|, )${name};dur=([\\d.]+)`).exec(timing) ?? []
      expect(child, name).toMatchObject({ kind: 1, traceId: span.traceId })
      expect((child?.end ?? 0) - (child?.start ?? 0), name).toBeCloseTo(Number(ms), 0)
      expect(child?.start, name).toBeGreaterThanOrEqual(span.start)
      expect(child?.end, name).toBeLessThanOrEqual(span.end)
    }
    const at = (name: string) => children.find((one) => one.name === name) ?? { start: 0, end: 0 }
    expect(at('queue').end).toBeCloseTo(at('prefill').start, 0)
    expect(at('encode').start).toBeGreaterThanOrEqual(at('queue').start)
    expect(at('encode').end).toBeLessThanOrEqual(at('prefill').end)
    expect(at('prefill').end).toBeCloseTo(at('generation').start, 0)
    expect(at('media').end).toBeLessThanOrEqual(at('queue').start)
  })

  it('has a span for texts that are embedded, with their tokens', async () => {
    const body = { model: 'bert', input: ['a red circle', 'a'] }
    await (await postJson(`${oriel.url}/v1/embeddings`, body, { headers: { 'x-request-id': 'texts' } })).text()
    const { span, children } = await spansOf('texts')
    expect(span).toMatchObject({
      ...{ name: 'embeddings bert', kind: 2, status: 0 },
      attributes: {
        'http.route': '/v1/embeddings',
        'gen_ai.operation.name': 'embeddings',
        'gen_ai.provider.name': 'oriel',
        'gen_ai.request.model': 'bert',
        'gen_ai.response.model': 'bert',
        'gen_ai.usage.input_tokens': 12 + 3,
        'gen_ai.embeddings.dimension.count': dimensions,
        'oriel.usage.texts': 2,
      },
    })
    const embed = children.find(({ name }) => name === 'embed')
    expect(embed?.start).toBeGreaterThanOrEqual(span.start - 1)
    expect(embed?.end).toBeLessThanOrEqual(span.end + 1)
  })

  it('names a refused request by its route, and blames the server only for its own errors', async () => {
    await (await chat({ messages: [] }, { 'x-request-id': 'refused' })).text()
    const { span, children } = await spansOf('refused')
    expect(span).toMatchObject({
      name: 'POST /v1/chat/completions',
      status: 0,
      attributes: { 'http.response.status_code': 400 },
    })
    expect(children).toEqual([])
  })

  it('tells of a client that leaves', async () => {
    const leaving = new AbortController()
    const endless = { stream: true, ignore_eos: true, max_tokens: 3900 }
    const response = await chat(endless, { 'x-request-id': 'left' }, leaving.signal)
    await response.body?.getReader().read()
    leaving.abort()
    const { span } = await spansOf('left')
    expect(span.attributes).toMatchObject({
      'http.response.status_code': 499,
      'gen_ai.response.finish_reasons': ['abort'],
    })
  })

  it('tells of an answer that the engine broke off', async () => {
    const response = await chat({ stream: true, ignore_eos: true, max_tokens: 3900 }, { 'x-request-id': 'broken' })
    const reader = response.body?.getReader()
    await reader?.read()
    oriel.kill()
    while (!(await reader?.read())?.done);
    const { span } = await spansOf('broken')
    expect(span).toMatchObject({ status: 2, attributes: { 'gen_ai.response.finish_reasons': ['error'] } })
    expect(span.attributes['error.type']).toMatch(/^[a-z_]+$/)
  })

  it('has only attributes that its page names', () => {
    const page = textOf('docs/observability.md')
    const names = new Set(collector.spans.flatMap(({ attributes }) => Object.keys(attributes)))
    expect([...names].filter((name) => !page.includes(`\`${name}\``))).toEqual([])
  })

  it('has no spans of the questions of monitors', async () => {
    for (const path of ['/health', '/ready', '/metrics']) await fetch(oriel.url + path)
    await (await chat({}, { 'x-request-id': 'last' })).text()
    await spansOf('last')
    expect(collector.spans.filter(({ name }) => /health|ready|metrics/.test(name))).toEqual([])
  })

  it('exports the numbers of /metrics, and those of the semantic conventions by their names', async () => {
    const text = await (await fetch(`${oriel.url}/metrics`)).text()
    const numberOf = (series: string): number =>
      Number(
        text
          .split('\n')
          .find((line) => line.startsWith(`${series} `))
          ?.slice(series.length + 1),
      )
    const labels = '{model="pocket",operation="chat"}'
    const ofPocket = (value: number) =>
      expect.arrayContaining([expect.objectContaining({ attributes: { model: 'pocket' }, value })])
    const metric = (name: string) => {
      const found = collector.metrics.find((one) => one.name === name)
      if (found === undefined) throw new Error(`no metric ${name}`)
      return found
    }
    await vi.waitFor(() => {
      expect(metric('oriel_generated_tokens_total')).toMatchObject({
        ...{ type: 'sum', unit: '{tokens}' },
        points: ofPocket(numberOf('oriel_generated_tokens_total{model="pocket"}')),
      })
      expect(metric('oriel_engine_kv_cells')).toMatchObject({
        type: 'gauge',
        points: ofPocket(numberOf('oriel_engine_kv_cells{model="pocket"}')),
      })
      const first = metric('gen_ai.server.time_to_first_token')
      expect(first).toMatchObject({ type: 'histogram', unit: 's' })
      const point = first.points.find(({ attributes }) => attributes['gen_ai.request.model'] === 'pocket')
      expect(point?.attributes).toEqual({
        'gen_ai.operation.name': 'chat',
        'gen_ai.provider.name': 'oriel',
        'gen_ai.request.model': 'pocket',
      })
      expect(point?.count).toBe(numberOf(`oriel_time_to_first_token_seconds_count${labels}`))
      expect(point?.value).toBeCloseTo(numberOf(`oriel_time_to_first_token_seconds_sum${labels}`))
      expect(point?.counts.reduce((sum, count) => sum + count, 0)).toBe(point?.count)
      expect(point?.counts).toHaveLength((point?.bounds.length ?? 0) + 1)
      for (const [index, bound] of point?.bounds.entries() ?? []) {
        const upTo = point?.counts.slice(0, index + 1).reduce((sum, count) => sum + count, 0)
        const series = `oriel_time_to_first_token_seconds_bucket{le="${bound}",model="pocket",operation="chat"}`
        expect(upTo, series).toBe(numberOf(series))
      }
    }, patient)
    const usage = metric('gen_ai.client.token.usage').points.map(({ attributes }) => attributes['gen_ai.token.type'])
    expect(new Set(usage)).toEqual(new Set(['input', 'output']))
    for (const name of ['gen_ai.server.request.duration', 'gen_ai.server.time_per_output_token']) metric(name)
    expect(collector.metrics.filter(({ name }) => name.startsWith('vllm:'))).toEqual([])
  })

  it('sends nothing that a client wrote but its request id', async () => {
    const name = 'accounts/my-street/models/pocket'
    await (await chat({ model: name, user: 'my-name' }, { 'x-request-id': 'private' })).text()
    await (await chat({ 'my-field': 1, model: 'my-model' }, { 'x-request-id': 'unknown' })).text()
    await spansOf('private')
    await spansOf('unknown')
    const sent = Buffer.concat(collector.bodies).toString('latin1')
    expect(sent).toContain('private')
    for (const text of [secret, 'living room', 'my-', image.slice(-200), 'red circle']) expect(sent).not.toContain(text)
  })
})

/** Serves in a process of its own, asks once, closes, and lists the packages that it has loaded. */
const program = `
  import Module from 'node:module'
  import { createOriel } from './dist/app.js'
  const oriel = await createOriel({ logLevel: 'warn', server: { port: 0 } })
  const { url } = await oriel.listen()
  const response = await fetch(url + '/v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'pocket', messages: [{ role: 'user', content: 'Hello' }] }),
  })
  const closing = performance.now()
  await oriel.close()
  console.log(JSON.stringify({
    status: response.status,
    closedIn: performance.now() - closing,
    sdk: Object.keys(Module._cache).some((file) => file.includes('@opentelemetry/sdk')),
  }))
`
const serveOnce = async (env: Record<string, string>) => {
  const args = ['--input-type=module', '--eval', program]
  const { stdout, stderr } = await run(process.execPath, args, { cwd: root, env })
  const warnings = stderr.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []))
  return { ...JSON.parse(stdout), warnings }
}

it('nothing of OpenTelemetry is loaded unless a variable asks for it', async () => {
  const found = await serveOnce({})
  expect(found).toMatchObject({ status: 200, sdk: false, warnings: [] })
  const disabled = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9', OTEL_SDK_DISABLED: 'true' }
  expect(await serveOnce(disabled)).toMatchObject({ status: 200, sdk: false, warnings: [] })
})

it('a collector that is away costs a line in the log, and delays the end for a second at most', async () => {
  const found = await serveOnce({
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9',
    OTEL_EXPORTER_OTLP_TIMEOUT: '500',
    OTEL_BSP_SCHEDULE_DELAY: '1',
  })
  expect(found).toMatchObject({ status: 200, sdk: true })
  expect(found.closedIn).toBeLessThan(10_000)
  expect(found.warnings).toMatchObject([{ msg: 'OpenTelemetry has a problem' }])
})

it.skipIf(shortRun)('spans are sent before the server has closed, and sampled as the variables say', async () => {
  const collector = await startCollector()
  const env = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/v1/traces`, OTEL_METRICS_EXPORTER: 'none' }
  await serveOnce(env)
  expect(collector.spans.map(({ name }) => name)).toContain('chat pocket')
  expect(collector.metrics).toEqual([])
  collector.spans.length = 0
  await serveOnce({ ...env, OTEL_TRACES_SAMPLER: 'always_off' })
  expect(collector.spans).toEqual([])
  await collector.close()
})
