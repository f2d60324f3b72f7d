import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { z } from 'zod'
import { chatChunk, chatCompletion } from '../../src/api/chat/answer.ts'
import { textCompletion } from '../../src/api/completions/answer.ts'
import { dryRunAnswer, tokenization } from '../../src/api/counting/answer.ts'
import { preview } from '../../src/api/counting/preview.ts'
import type { Dialect } from '../../src/api/dialects/dialect.ts'
import { bases, dialects } from '../../src/api/dialects/index.ts'
import { message, messageCount, messageEvent } from '../../src/api/messages/answer.ts'
import { anthropicModels } from '../../src/api/models/anthropic.ts'
import { model, modelList } from '../../src/api/models/models.ts'
import { chatAnswer, generateAnswer } from '../../src/api/ollama/answer.ts'
import { psList, shownModel, tagList } from '../../src/api/ollama/models.ts'
import { inputTokens } from '../../src/api/responses/endpoint.ts'
import { response, responseEvent } from '../../src/api/responses/response.ts'
import { completionsUsagePage, costsPage } from '../../src/api/usage/organization.ts'
import { usagePage } from '../../src/api/usage/usage.ts'
import { backends } from '../support/backends.ts'
import { fromSchema, type Schema } from '../support/from-schema.ts'
import { eventsOf, postJson } from '../support/http.ts'
import { dataUrl, shape } from '../support/images.ts'
import { inputs } from '../support/long.ts'
import { promptEvent, startScripted, textEvent } from '../support/scripted.ts'

interface Operation {
  operationId: string
  requestBody?: { content: { 'application/json': { schema: Schema } } }
  responses: Record<string, { content: Record<string, { schema: Schema }> }>
}
interface Server {
  url: string
}
interface Document {
  openapi: string
  servers: Server[]
  /** Of each path, and where it is if not where most are. */
  paths: Record<
    string,
    { get?: Operation; post?: Operation; patch?: Operation; delete?: Operation; servers?: Server[] }
  >
}

const documentOf = async (url: string): Promise<Document> =>
  (await (await fetch(`${url}/openapi.json`)).json()) as Document

/** Parameters of all APIs that keep an answer short, and the model loaded. */
const short = {
  max_tokens: 2,
  max_completion_tokens: 2,
  max_output_tokens: 2,
  options: { num_predict: 2 },
  keep_alive: null,
}

describe.each(backends)('the OpenAPI document of a server with the model $model', (backend) => {
  let oriel: { url: string; close(): Promise<void> }
  let document: Document
  let red: string
  beforeAll(async () => {
    oriel = await backend.start()
    document = await documentOf(oriel.url)
    red = dataUrl(await shape('red'))
  })
  afterAll(() => oriel.close())

  it('has every base and every endpoint, each with its own operationId', () => {
    expect(document.openapi).toBe('3.1.0')
    const servers = [document, ...Object.values(document.paths)].flatMap(({ servers = [] }) => servers)
    expect(new Set(servers.map(({ url }) => url))).toEqual(new Set([...bases.keys()].map((base) => base || '/')))
    expect([...bases.keys()]).toEqual(expect.arrayContaining(['/v1', '/inference/v1', '/openai/v1', '/v3/openai']))
    const operations = Object.values(document.paths).flatMap(({ servers: _, ...methods }) => Object.values(methods))
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length)
    expect(Object.keys(document.paths).sort()).toEqual([
      '/accounts',
      '/accounts/{account}',
      '/accounts/{account}/datasets',
      '/accounts/{account}/datasets/{dataset}',
      '/accounts/{account}/datasets/{dataset}:getDownloadEndpoint',
      '/accounts/{account}/datasets/{dataset}:getUploadEndpoint',
      '/accounts/{account}/datasets/{dataset}:upload',
      '/accounts/{account}/datasets/{dataset}:validateUpload',
      '/accounts/{account}/deployedModels',
      '/accounts/{account}/deployedModels/{deployedModel}',
      '/accounts/{account}/deploymentShapes',
      '/accounts/{account}/deploymentShapes/{shape}',
      '/accounts/{account}/deploymentShapes/{shape}/versions',
      '/accounts/{account}/deploymentShapes/{shape}/versions/{version}',
      '/accounts/{account}/deployments',
      '/accounts/{account}/deployments/{deployment}',
      '/accounts/{account}/deployments/{deployment}:scale',
      '/accounts/{account}/deployments/{deployment}:undelete',
      '/accounts/{account}/models',
      '/accounts/{account}/models/{model}',
      '/accounts/{account}/models/{model}:getDownloadEndpoint',
      '/accounts/{account}/models/{model}:getUploadEndpoint',
      '/accounts/{account}/models/{model}:validateUpload',
      '/accounts/{account}/supervisedFineTuningJobs',
      '/accounts/{account}/supervisedFineTuningJobs/{job}',
      '/accounts/{account}/supervisedFineTuningJobs/{job}:cancel',
      '/accounts/{account}/supervisedFineTuningJobs/{job}:pause',
      '/accounts/{account}/supervisedFineTuningJobs/{job}:resume',
      '/accounts/{account}/users',
      '/accounts/{account}/users/{user}',
      '/accounts/{account}/users/{user}/apiKeys',
      '/accounts/{account}/users/{user}/apiKeys:delete',
      '/admin/accounts',
      '/admin/accounts/{account}',
      '/admin/activity',
      '/admin/activity/live',
      '/admin/cache',
      '/admin/keys',
      '/admin/keys/{key}',
      '/admin/keys/{key}/rotate',
      '/admin/models',
      '/admin/models/image-tokens',
      '/admin/models/load',
      '/admin/models/pull',
      '/admin/models/remove',
      '/admin/models/{model}',
      '/admin/pulls',
      '/admin/pulls/live',
      '/admin/pulls/{pull}',
      '/admin/usage',
      '/api/embeddings',
      '/audio/transcriptions',
      '/audio/translations',
      '/chat',
      '/chat/completions',
      '/completions',
      '/copy',
      '/create',
      '/delete',
      '/embed',
      '/embeddings',
      '/files',
      '/files/{file}',
      '/files/{file}/content',
      '/fine_tuning/jobs',
      '/fine_tuning/jobs/{job}',
      '/fine_tuning/jobs/{job}/cancel',
      '/fine_tuning/jobs/{job}/checkpoints',
      '/fine_tuning/jobs/{job}/events',
      '/fine_tuning/jobs/{job}/pause',
      '/fine_tuning/jobs/{job}/resume',
      '/generate',
      '/messages',
      '/messages/count_tokens',
      '/models',
      '/models/{model}',
      '/organization/costs',
      '/organization/usage/completions',
      '/preview',
      '/ps',
      '/pull',
      '/push',
      '/responses',
      '/responses/input_tokens',
      '/responses/{response_id}',
      '/responses/{response_id}/input_items',
      '/show',
      '/tags',
      '/tokenize',
      '/usage',
      '/version',
    ])
    expect(JSON.stringify(document)).not.toMatch(/x-refused|9007199254740991/)
    const requests = operations.map(({ requestBody }) => JSON.stringify(requestBody ?? null))
    expect(requests.filter((schema) => schema.includes('"conversation"'))).toEqual([])
  })

  it('describes the answers of the server', async () => {
    const holds = async (path: string, schema: z.ZodType, body?: object, headers = {}): Promise<void> => {
      const response = await (body === undefined
        ? fetch(`${oriel.url}/v1${path}`, { headers })
        : postJson(`${oriel.url}/v1${path}`, { model: backend.model, ...body }))
      const text = await response.text()
      expect(response.status, text).toBe(200)
      const bodies = text.startsWith('{') ? [JSON.parse(text)] : eventsOf<unknown>(text)
      expect(bodies.length).toBeGreaterThan(0)
      for (const one of bodies) schema.parse(one)
    }
    const messages = [
      {
        role: 'user',
        content: [
          { type: 'image_url', image_url: red },
          { type: 'text', text: 'Hi' },
        ],
      },
    ]
    const rich = {
      messages,
      max_tokens: 3,
      n: 2,
      raw_output: true,
      return_token_ids: true,
      perf_metrics_in_response: true,
      usage: { include: true },
    }
    for (const logprobs of [true, 2]) {
      await holds('/chat/completions', chatCompletion, { ...rich, logprobs })
      await holds('/chat/completions', chatChunk, { ...rich, logprobs, stream: true })
    }
    const tools = [{ type: 'function', function: { name: 'now' } }]
    await holds('/chat/completions', chatCompletion, { messages, tools, tool_choice: 'required' })
    await holds('/chat/completions', chatChunk, { messages, tools, tool_choice: 'required', stream: true })
    await holds('/chat/completions', dryRunAnswer, { messages, dry_run: true })
    const prompt = { ...rich, prompt: 'A<image>', images: [red], logprobs: 1 }
    await holds('/completions', textCompletion, prompt)
    await holds('/completions', textCompletion, {
      ...prompt,
      stream: true,
      stream_options: { include_usage: true },
    })
    const echoed = { tools: [{ type: 'function', name: 'now' }], tool_choice: 'none', metadata: { a: 'b' } }
    await holds('/responses', response, { input: 'Hi', max_output_tokens: 3, ...echoed })
    await holds('/responses', responseEvent, { input: 'Hi', max_output_tokens: 3, ...echoed, stream: true })
    const greeting = { messages: [{ role: 'user', content: 'Hi' }], max_tokens: 3 }
    const seen = { role: 'user', content: [{ type: 'image', source: { type: 'url', url: red } }] }
    const include = { usage: { include: true } }
    await holds('/messages', message, greeting)
    await holds('/messages', message, { ...greeting, messages: [seen], ...include })
    await holds('/messages', messageEvent, { ...greeting, messages: [seen], ...include, stream: true })
    await holds('/messages', messageEvent, { ...greeting, stream: true })
    const called = { ...greeting, max_tokens: 400, tools: [{ name: 'now', input_schema: { type: 'object' } }] }
    await holds('/messages', messageEvent, { ...called, tool_choice: { type: 'any' }, stream: true })
    const calling = { input: 'Hi', tools: [{ type: 'function', name: 'now' }], tool_choice: 'required' }
    await holds('/responses', responseEvent, { ...calling, stream: true })
    const custom = [{ type: 'custom', name: 'note' }, { type: 'web_search' }]
    await holds('/responses', response, { ...calling, tools: custom, include: ['reasoning.encrypted_content'] })
    await holds('/responses', responseEvent, { ...calling, tools: custom, stream: true })
    await holds('/responses', responseEvent, { input: 'Hi', top_logprobs: 1, stream: true })
    const input = [{ role: 'user', content: [{ type: 'input_image', image_url: red }] }]
    await holds('/responses', response, { input, max_output_tokens: 3, ...include })
    await holds('/responses', responseEvent, { input, max_output_tokens: 3, ...include, stream: true })
    await holds('/responses/input_tokens', inputTokens, { input: 'Hi' })
    await holds('/messages/count_tokens', messageCount, { messages: [{ role: 'user', content: 'Hi' }] })
    await holds('/tokenize', tokenization, { messages })
    if (backend.model === 'pocket') await holds('/preview', preview, { messages })
    await holds('/models', modelList)
    await holds('/usage?group_by=day,model', usagePage)
    await holds('/organization/usage/completions?start_time=2026-11-28', completionsUsagePage)
    await holds('/organization/costs?start_time=2026-11-28', costsPage)
    await holds(`/models/accounts/oriel/models/${backend.model}`, model)
    await holds('/models', anthropicModels, undefined, { 'anthropic-version': '2023-06-01' })
  })

  it("describes the answers of Ollama's API", async () => {
    const holds = async (path: string, schema: z.ZodType, body?: object): Promise<void> => {
      const at = `${oriel.url}/api${path}`
      const response = await (body === undefined ? fetch(at) : postJson(at, { model: backend.model, ...body }))
      const text = await response.text()
      expect(response.status, text).toBe(200)
      for (const line of text.trimEnd().split('\n')) schema.parse(JSON.parse(line))
    }
    const messages = [{ role: 'user', content: 'Hi', images: [red] }]
    for (const stream of [true, false]) {
      const asked = { stream, logprobs: true, top_logprobs: 1, options: { num_predict: 3 }, usage: { include: true } }
      await holds('/chat', chatAnswer, { ...asked, messages })
      await holds('/generate', generateAnswer, { ...asked, prompt: 'Hi' })
    }
    await holds('/chat', chatAnswer, {})
    await holds('/tags', tagList)
    await holds('/ps', psList)
    await holds('/show', shownModel, {})
  })

  it('describes no request that fails', async () => {
    const operations = bodiesOf(document)
    await fc.assert(
      fc.asyncProperty(fc.array(requestOf(operations), { minLength: 8, maxLength: 8 }), async (requests) => {
        await Promise.all(
          requests.map(async ({ path, base, body }) => {
            const few =
              typeof body === 'object' && body !== null && !Array.isArray(body)
                ? { ...body, ...short, model: backend.model }
                : body
            const response = await postJson(oriel.url + base + path, few)
            const text = await response.text()
            expect(response.status, JSON.stringify({ path, few, text })).toBeLessThan(500)
          }),
        )
      }),
      { numRuns: inputs(6, 25) },
    )
    // Some of them may have loaded another model.
    const { engines } = (await (await fetch(`${oriel.url}/health`)).json()) as { engines: object[] }
    for (const engine of engines) expect(engine).toMatchObject({ status: 'ok', running: 0, waiting: 0 })
    expect(engines).toContainEqual(expect.objectContaining({ model: backend.model }))
  })
})

interface Asked {
  path: string
  base: string
  body: unknown
}

const bodiesOf = ({ paths, servers: usual }: Document) =>
  Object.entries(paths).flatMap(([path, { post, servers = usual }]) => {
    const schema = post?.requestBody?.content['application/json']?.schema
    return schema === undefined ? [] : [{ path, schema, servers }]
  })

const dialectOf = (base: string, path: string): Dialect => {
  const found = dialects.find(({ bases, endpoints }) =>
    bases.some((below) => endpoints.some((each) => below + each.path === base + path)),
  )
  if (found === undefined) throw new Error(`no dialect has ${base}${path}`)
  return found
}

const requestOf = (operations: ReturnType<typeof bodiesOf>): fc.Arbitrary<Asked> =>
  fc.oneof(
    ...operations.map(({ path, schema, servers }) =>
      fc.record({
        path: fc.constant(path),
        base: fc.constantFrom(...servers.map(({ url }) => (url === '/' ? '' : url))),
        body: fromSchema(schema),
      }),
    ),
  )

describe('requests generated from the document', () => {
  it('are answered or refused with the error of their dialect, never with a 5xx', async () => {
    const said = [
      '<think>',
      'Hm.',
      '</think>',
      'A ',
      '<tool_call>',
      '{"name": "a", "arguments": {}}',
      '</tool_call>',
      '{',
      '🙂',
    ]
    const server = await startScripted(
      async function* ({ n }) {
        yield { ...promptEvent, attachmentTokens: [1] } as typeof promptEvent
        for (let choice = 0; choice < n; choice++) {
          for (const text of said.slice(choice)) yield { ...textEvent(text), choice }
          yield { type: 'end', choice, reason: 'stop', stop: null, completionTokens: said.length }
        }
        yield {
          type: 'done',
          timings: { queue: 1, encode: 0, prefill: 2, firstToken: 3, generation: 4 },
          attachments: [],
        }
      },
      { vision: true },
    )
    const document = await documentOf(server.url)
    const operations = bodiesOf(document)
    const statuses = new Map<number, number>()
    const one = async ({ path, base, body }: Asked): Promise<void> => {
      // Most requests get as far as a model.
      const known =
        typeof body === 'object' && body !== null && !Array.isArray(body) ? { ...body, model: 'scripted' } : body
      const response = await postJson(server.url + base + path, known)
      const text = await response.text()
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1)
      expect(response.status, JSON.stringify({ path, known, text })).toBeLessThan(500)
      if (response.status === 200) return
      const error = JSON.parse(text)
      dialectOf(base, path).errors.schema.parse(error)
      expect(error.error.message ?? error.error, text).toMatch(/^[^\n]+\.$/)
    }
    try {
      await fc.assert(
        fc.asyncProperty(fc.array(requestOf(operations), { minLength: 25, maxLength: 25 }), async (requests) => {
          await Promise.all(requests.map(one))
        }),
        { numRuns: inputs(24, 200) },
      )
    } finally {
      await server.close()
    }
    const sent = [...statuses.values()].reduce((sum, count) => sum + count, 0)
    for (const status of [200, 400]) expect((statuses.get(status) ?? 0) / sent).toBeGreaterThan(0.1)
  }, 600_000)
})
