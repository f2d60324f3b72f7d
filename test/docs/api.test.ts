import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chatRequest } from '../../src/api/chat/schema.ts'
import { anthropic } from '../../src/api/dialects/anthropic.ts'
import { bases } from '../../src/api/dialects/index.ts'
import { openai } from '../../src/api/dialects/openai.ts'
import { shape } from '../support/images.ts'
import { startServer, type TestServer } from '../support/server.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const page = readFileSync(`${root}docs/api.md`, 'utf8')
const readme = readFileSync(`${root}README.md`, 'utf8')
const run = promisify(execFile)

const examples = [...`${readme}\n${page}`.matchAll(/^```(bash|js)\n([\s\S]*?)^```$/gm)].map(
  ([, language = '', code = ''], index) => ({
    title: `${index + 1}: ${code.split('\n').find((line) => /curl|create|stream\(/.test(line)) ?? ''}`,
    language,
    code,
  }),
)

/** The output of an example, by a pattern of its code. The first match applies. */
const outputs: [code: RegExp, output: RegExp][] = [
  [/input_tokens/, /^\{"object":"response\.input_tokens",.*"object":"list".*"text":"Hello".*"deleted":true\}$/s],
  [/count_tokens/, /^\{"input_tokens":\d+\}$/],
  [/\/api\/chat/, /"content":"A red circle on a white background\."\},"done":true,"done_reason":"stop"/],
  [/\/tokenize/, /"count":56,.*"type":"image","param":"messages\[0\]\.content\[1\]\.image_url","tokens":42,/],
  [/\/v1\/models\b/, /"object":"list","data":\[\{"id":"pocket",.*\}\]\}\{"id":"pocket","object":"model"/],
  [/\/metrics/, /^oriel_http_response_seconds_count/m],
  [/response_format/, /"content":"\{[^{}]*\\"colour\\"[^{}]*: *\\"(red|green|blue)\\"[^{}]*\}"/],
  [/tool_choice/, /"name":"report","arguments":"\{[^{}]*\\"colour\\"[^{}]*: *\\"(red|green|blue)\\"[^{}]*\}"/],
  [/sample\.pdf/, /first image shows a red circle and the second image shows a blue square\..*images: \[ 42, 42 \]/s],
  [/Compare the two images/, /^The first image shows a red circle and the second image shows a red circle\.$/],
  [/responses\.stream/, /^A red circle on a white background\.\{\s+input_tokens: \d+,.*output_tokens: \d+,/s],
  [/image\?/, /A red circle on a white background\./],
]

describe('README.md and docs/api.md', () => {
  let oriel: TestServer
  let images: Server
  beforeAll(async () => {
    oriel = await startServer()
    const red = await shape('red')
    images = createServer((_, response) => response.end(red))
    await new Promise<void>((resolve) => images.listen(0, '127.0.0.1', resolve))
  })
  afterAll(async () => {
    images.close()
    await oriel.close()
  })

  it.each(examples)('print the expected output: example $title', async ({ language, code }) => {
    const { port } = images.address() as AddressInfo
    const here = code
      .replaceAll('http://127.0.0.1:8080', oriel.url)
      .replaceAll('https://example.com/red.png', `http://127.0.0.1:${port}/red.png`)
    const curl = 'set -e; curl() { command curl --silent --show-error --fail-with-body "$@"; }\n'
    const [program, args] =
      language === 'bash' ? ['bash', ['-c', curl + here]] : ['node', ['--input-type=module', '--eval', here]]
    const { stdout } = await run(program, args, { cwd: root })
    expect(stdout.trim()).toMatch(
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
