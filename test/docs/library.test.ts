import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Finished, run } from '../support/cli.ts'
import { textOf } from './pages.ts'

const library = JSON.stringify(new URL('../../dist/app.js', import.meta.url).href)

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'oriel-library-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** Runs a program that imports the compiled library. */
async function runProgram(code: string): Promise<Finished> {
  const file = path.join(folder, 'program.mjs')
  await writeFile(file, code.replaceAll("'oriel'", library))
  return run(process.execPath, [file])
}

describe.each(['docs/library.md', 'docs/add-a-backend.md'])('%s', (page) => {
  const text = textOf(page)
  /** The examples of the page: code and output. */
  const examples = [...text.matchAll(/```js\n([\s\S]*?)```\n\n```output\n([\s\S]*?)```/g)].map(
    ([, code = '', output = '']) => ({ code, output: output.trim() }),
  )

  it('has an output for each example', () => {
    expect(examples.length).toBe(text.match(/```js\n/g)?.length)
  })

  it.each(examples)('prints the documented output: $output', async ({ code, output }) => {
    expect((await runProgram(code)).stdout.trim()).toBe(output)
  })
})

describe('a program that imports the library', () => {
  it('exits without close: an idle model does not keep its process alive', async () => {
    const { stdout } = await runProgram(`
      import { createOriel } from 'oriel'
      const oriel = await createOriel()
      const counted = await oriel.count('Hello')
      const reply = await oriel.ask('Hello')
      console.log(counted.promptTokens, (await reply.finish()).text)
      process.on('exit', (code) => console.log('ended with', code))`)
    expect(stdout).toBe('9 Hello! Send me an image and ask about it.\nended with 0\n')
  })
})
