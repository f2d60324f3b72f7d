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

  it('lets a program end without close: an idle model does not keep its process alive', async () => {
    const file = path.join(folder, 'unclosed.mjs')
    const source = JSON.stringify(new URL('../../src/app.ts', import.meta.url).href)
    await writeFile(
      file,
      `import { createOriel } from ${source}
      const oriel = await createOriel()
      const counted = await oriel.count('Hello')
      const reply = await oriel.ask('Hello')
      console.log(counted.promptTokens, (await reply.finish()).text)
      process.on('exit', (code) => console.log('ended with', code))`,
    )
    const { stdout } = await run(process.execPath, ['--import', import.meta.resolve('tsx'), file], { cwd: root })
    expect(stdout).toBe('9 Hello! Send me an image and ask about it.\nended with 0\n')
  })

  it.each(examples)('prints what it says: $output', async ({ code, output }) => {
    const file = path.join(folder, 'example.mjs')
    const source = JSON.stringify(new URL('../../src/app.ts', import.meta.url).href)
    await writeFile(file, code.replaceAll("'oriel'", source))
    const { stdout } = await run(process.execPath, ['--import', import.meta.resolve('tsx'), file], { cwd: root })
    expect(stdout.trim()).toBe(output)
  })
})
