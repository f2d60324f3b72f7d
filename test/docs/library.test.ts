import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { root, textOf } from './pages.ts'

const run = promisify(execFile)

describe.each(['docs/library.md', 'docs/add-a-backend.md'])('%s', (page) => {
  const text = textOf(page)
  /** Each example of the page: its code, and what it prints. */
  const examples = [...text.matchAll(/```js\n([\s\S]*?)```\n\n```output\n([\s\S]*?)```/g)].map(
    ([, code = '', output = '']) => ({ code, output: output.trim() }),
  )
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'oriel-library-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('has an output for each example', () => {
    expect(examples.length).toBe(text.match(/```js\n/g)?.length)
  })

  it.each(examples)('prints what it says: $output', async ({ code, output }) => {
    const file = path.join(folder, 'example.mjs')
    const source = JSON.stringify(new URL('../../src/app.ts', import.meta.url).href)
    await writeFile(file, code.replaceAll("'oriel'", source))
    const { stdout } = await run(process.execPath, ['--import', import.meta.resolve('tsx'), file], { cwd: root })
    expect(stdout.trim()).toBe(output)
  })
})
