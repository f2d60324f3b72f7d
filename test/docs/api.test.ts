import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chatRequest } from '../../src/api/chat/schema.ts'
import { anthropic } from '../../src/api/dialects/anthropic.ts'
import { bases } from '../../src/api/dialects/index.ts'
import { openai } from '../../src/api/dialects/openai.ts'
import type { Backend } from '../../src/app.ts'
import { writeBert } from '../support/embedding-models.ts'
import { plainBackend } from '../support/plain-backend.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { examplesOf, outputOf } from './examples.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const page = readFileSync(`${root}docs/api.md`, 'utf8')
const readme = readFileSync(`${root}README.md`, 'utf8')
const images = readFileSync(`${root}docs/images.md`, 'utf8')
const examples = examplesOf(`${readme}\n${page}\n${images}`)

const folder = mkdtempSync(`${tmpdir()}/oriel-docs-`)
/** The model of the example that embeds has another's name. */
const embedder = path.join(folder, 'bge-small-en-v1.5.gguf')

/** So has the one that hears. */
const plain = plainBackend('qwen2.5-omni-3b')
const listener: Backend = { ...plain, info: { ...plain.info, inputs: ['audio'] } }

/** The output of an example, by a pattern of its code. The first match applies. */
const outputs: [code: RegExp, output: RegExp][] = [
  [/input_tokens/, /^\{"object":"response\.input_tokens",.*"object":"list".*"text":"Hello".*"deleted":true\}$/s],
  [/count_tokens/, /^\{"input_tokens":\d+\}$/],
  [
    /\/embeddings/,
    /^\{"object":"list","data":\[\{"object":"embedding","index":0,"embedding":\[.*"total_tokens":\d+\}\}$/,
  ],
  [/\/transcriptions/, /^You asked "Transcribe the audio\. .*\n\{"text":"You asked \\"Translate/],
  [/\/api\/chat/, /"content":"A red circle on a white background\."\},"done":true,"done_reason":"stop"/],
  [
    /\/preview/,
    /^\{"object":"preview",.*"tokens":72,.*"kind":"whole","width":128,"height":128,.*"image":"data:image\/png;base64,/,
  ],
  [/\/tokenize/, /"count":86,.*"type":"image","param":"messages\[0\]\.content\[1\]\.image_url","tokens":72,/],
  [/\/v1\/models\b/, /"object":"list","data":\[\{"id":"pocket",.*\}\]\}\{"id":"pocket","object":"model"/],
  [/\/v1\/usage/, /^\{"object":"list","data":\[.*"cost":.*\],"has_more":false,"next_page":null\}$/],
  [/organization/, /^(\{"object":"page","data":\[(\{"object":"bucket",.*"results":\[\]\},?){2}\],.*\}){2}$/],
  [
    /fine_tuning/,
    /^\{"object":"list","data":\[\{"id":"ftjob-.*"object":"fine_tuning.job.event".*\{"object":"list".*"status":"(running|cancelled)".*\}$/s,
  ],
  [
    /\/v1\/files/,
    /^\{"object":"list","data":\[\{"id":"file-.*"status":"processed".*\}\s*6\s*\{"id":"file-\w+","object":"file","deleted":true\}$/s,
  ],
  [/\/metrics/, /^oriel_http_response_seconds_count/m],
  [/response_format/, /"content":"\{[^{}]*\\"colour\\"[^{}]*: *\\"(red|green|blue)\\"[^{}]*\}"/],
  [/tool_choice/, /"name":"report","arguments":"\{[^{}]*\\"colour\\"[^{}]*: *\\"(red|green|blue)\\"[^{}]*\}"/],
  [
    /sample\.pdf/,
    /first image shows a red circle and the second image shows a blue square\..*images"?: ?\[ ?110, ?110 ?\]/s,
  ],
  [/Compare the two images/, /^The first image shows a red circle and the second image shows a red circle\.$/],
  [/responses\.stream/, /^A red circle on a white background\.\{\s+input_tokens: \d+,.*output_tokens: \d+,/s],
  [/image\?/, /A red circle on a white background\./],
]

describe('README.md, docs/api.md and docs/images.md', () => {
  let oriel: TestServer
  beforeAll(async () => {
    writeBert(embedder)
    oriel = await startServer({ model: ['pocket', embedder] }, [listener])
  })
  afterAll(async () => {
    await oriel.close()
    rmSync(folder, { recursive: true })
  })

  it.each(examples)('print the expected output: example $title', async ({ language, code }) => {
    expect(await outputOf({ language, code }, oriel.url)).toMatch(
      outputs.find(([pattern]) => pattern.test(code))?.[1] ?? /^this example has no expected output$/,
    )
  })

  it('have examples of every endpoint', () => {
    const paths = openai.endpoints.concat(anthropic.endpoints).map(({ path }) => path.replace(/\{.*/, ''))
    const clients = {
      '/chat/completions': 'chat.completions',
      '/completions': 'client.completions',
      '/responses': 'client.responses',
    }
    const code = examples.map((example) => example.code).join()
    for (const path of paths) expect(code).toContain(clients[path as keyof typeof clients] ?? path)
  })

  it('name every base URL', () => {
    for (const base of bases.keys()) expect(page).toContain(`\`http://127.0.0.1:8080${base}\``)
  })

  it('describe every parameter of chats', () => {
    for (const name of Object.keys(chatRequest.shape)) expect(page).toContain(`\`${name}\``)
  })
})
