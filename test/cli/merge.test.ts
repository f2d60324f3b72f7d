import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createOriel } from '../../src/app.ts'
import { oriel, orielHere } from '../support/cli.ts'
import { inputs, shortRun } from '../support/long.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-cli-merge-'))
const models = path.join(folder, 'models')
const env = { ORIEL_MODELS_DIR: models, XDG_CACHE_HOME: path.join(folder, 'cache') }
const trained = fileURLToPath(new URL('../pocket/adapters', import.meta.url))
const pictures = fileURLToPath(new URL('../pocket/pictures', import.meta.url))

beforeAll(() => cpSync(trained, path.join(models, 'adapters'), { recursive: true }))
afterAll(() => rmSync(folder, { recursive: true }))

it.skipIf(shortRun)('a merged model answers as its base with the adapter', async () => {
  for (const name of ['upper', 'json', 'teal']) {
    const { stdout, stderr } = await orielHere(
      ['merge', 'pocket', name, '-o', path.join(models, `merged-${name}.gguf`)],
      env,
    )
    expect(stderr).toBe('')
    expect(stdout).toMatch(new RegExp(`^pocket with ${name}, which changes \\d+ matrices: .*merged-${name}.gguf`))
  }
  const names = readdirSync(pictures).filter((name) => name.endsWith('.png'))
  const files = inputs(names.slice(0, 5), names).map(
    (name) => `data:;base64,${readFileSync(path.join(pictures, name)).toString('base64')}`,
  )
  const server = await createOriel({ models: { dirs: [models] } })
  const ask = async (model: string, image: string): Promise<string> => {
    const reply = await server.ask(
      [
        {
          role: 'user',
          content: [
            { type: 'image', image },
            { type: 'text', text: 'What is in this image?' },
          ],
        },
      ],
      { model, temperature: 0 },
    )
    return (await reply.finish()).text
  }
  const pairs = ['upper', 'json', 'teal'].flatMap((name) => files.map((file) => ({ name, file })))
  try {
    const [adapted, merged] = [
      await Promise.all(pairs.map(({ name, file }) => ask(`pocket#${name}`, file))),
      await Promise.all(pairs.map(({ name, file }) => ask(`merged-${name}`, file))),
    ]
    expect(merged).toEqual(adapted)
  } finally {
    await server.close()
  }
})

it('what cannot be merged is said', async () => {
  const merge = async (...args: string[]) => (await orielHere(['merge', ...args], env)).stderr
  const out = path.join(folder, 'out.gguf')
  expect(await merge('pocket', 'nothing', '-o', out)).toContain(
    'There is no adapter nothing. The adapters are: json, teal, upper.',
  )
  expect(await merge('nothing', 'upper', '-o', out)).toContain('There is no model nothing.')
  expect(await merge('pocket', 'upper', '-o', 'out.bin')).toContain('must end with .gguf')
  expect(await merge('pocket', 'upper', '-o', path.join(folder, 'no', 'out.gguf'))).toContain('There is no folder')
  expect((await oriel(['merge', 'pocket', 'upper'], { env })).stderr).toContain("'-o, --output <file>'")
})
