import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const root = path.join(import.meta.dirname, '../..')
const run = promisify(execFile)

/** The examples of the document: code and output. */
const text = await readFile(path.join(root, 'docs/library.md'), 'utf8')
const examples = [...text.matchAll(/```js\n([\s\S]*?)```\n\n```output\n([\s\S]*?)```/g)].map(
  ([, code = '', output = '']) => ({ code, output: output.trim() }),
)

describe('docs/library.md', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'oriel-library-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('has an output for each example', () => {
    expect(examples.length).toBe(text.match(/```js\n/g)?.length)
  })

  it.each(examples)('prints the documented output: $output', async ({ code, output }) => {
    const file = path.join(folder, 'example.mjs')
    const source = JSON.stringify(new URL('../../dist/app.js', import.meta.url).href)
    await writeFile(file, code.replaceAll("'oriel'", source))
    const { stdout } = await run(process.execPath, [file], { cwd: root })
    expect(stdout.trim()).toBe(output)
  })
})
