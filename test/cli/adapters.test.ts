import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { oriel, orielHere } from '../support/cli.ts'
import { shortRun } from '../support/long.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-cli-adapters-'))
const env = { ORIEL_MODELS_DIR: path.join(folder, 'models'), XDG_CACHE_HOME: path.join(folder, 'cache') }
const trained = fileURLToPath(new URL('../pocket/adapters', import.meta.url))

beforeAll(() => cpSync(trained, path.join(env.ORIEL_MODELS_DIR, 'adapters'), { recursive: true }))
afterAll(() => rmSync(folder, { recursive: true }))

const here = async (...args: string[]) => (await orielHere(args, env)).stdout
const asked = (model: string) =>
  oriel(['ask', '--model', model, 'examples/sample.png', 'What is in this image?'], { env })

describe('adapters at the terminal', () => {
  it('are listed with their models, and described', async () => {
    expect(await here('list')).toMatch(
      /\n\nADAPTER +OF +CHANGES +RANK +SIZE\njson +pocket +answers +8 .*\nteal +pocket +images +8 .*\n/,
    )
    expect(JSON.parse(await here('list', '--json')).adapters).toMatchObject([
      { id: 'json', models: ['pocket'], changes: ['answers'] },
      { id: 'teal', models: ['pocket'], changes: ['images'] },
      { id: 'upper', models: ['pocket'], changes: ['answers'] },
    ])
    expect(await here('show', 'teal')).toMatch(/^name +teal\n.*\nadapter of +pocket\n/)
  })

  it.skipIf(shortRun)('are asked by their own name, or behind that of their model', async () => {
    expect((await asked('upper')).stdout).toBe('A RED CIRCLE.\n')
    expect((await asked('pocket#json')).stdout).toBe('{"answer": "A red circle"}\n')
    expect((await asked('pocket#nothing')).stderr).toContain('There is no model pocket#nothing.')
  })

  it('are removed', async () => {
    expect(await here('rm', '--yes', 'json')).toMatch(/^json was removed: .* freed\.\n$/)
    expect(await here('list')).not.toContain('json')
  })
})
