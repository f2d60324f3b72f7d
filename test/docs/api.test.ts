import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chatRequest } from '../../src/api/index.ts'
import { shape } from '../support/pictures.ts'
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

describe('README.md and docs/api.md', () => {
  let oriel: TestServer
  let pictures: Server
  beforeAll(async () => {
    oriel = await startServer()
    const red = await shape('red')
    pictures = createServer((_, response) => response.end(red))
    await new Promise<void>((resolve) => pictures.listen(0, '127.0.0.1', resolve))
  })
  afterAll(async () => {
    pictures.close()
    await oriel.close()
  })

  it.each(examples)('run: example $title', async ({ language, code }) => {
    const { port } = pictures.address() as AddressInfo
    const here = code
      .replaceAll('http://127.0.0.1:8080', oriel.url)
      .replaceAll('https://example.com/red.png', `http://127.0.0.1:${port}/red.png`)
    const curl = 'set -e; curl() { command curl --silent --show-error --fail-with-body "$@"; }\n'
    const [program, args] =
      language === 'bash' ? ['bash', ['-c', curl + here]] : ['node', ['--input-type=module', '--eval', here]]
    const { stdout } = await run(program, args, { cwd: root })
    expect(stdout).not.toBe('')
    expect(stdout).not.toMatch(/"error"|undefined/)
  })

  it('have examples of every place', () => {
    expect(examples.length).toBeGreaterThanOrEqual(12)
  })

  it('tell of every parameter of chats', () => {
    for (const name of Object.keys(chatRequest.shape)) expect(page).toContain(`\`${name}\``)
  })
})
