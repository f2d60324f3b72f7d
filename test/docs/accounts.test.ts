import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createOriel, type Oriel } from '../../src/app.ts'
import { examplesOf, outputOf } from './examples.ts'
import { textOf } from './pages.ts'

const page = textOf('docs/accounts.md')
const administrator = 'the-key-of-the-administrator'

/** The output of an example, by a pattern of its code. */
const outputs: [code: RegExp, output: RegExp][] = [
  [/admin\/keys/, /"account":"acme",.*"models":\["pocket"\],"budget":20,"note":"the robot",.*"secret":"ork_[\w-]+"\}$/],
  [/PATCH/, /^\{"id":"acme","object":"account","tier":"paid","budget":100,/],
  [/format=csv/, /^start,account,key,.*,cost$/],
]

describe('docs/accounts.md', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-docs-'))
  let oriel: Oriel
  let url: string
  beforeAll(async () => {
    const config = path.join(folder, 'config.json')
    writeFileSync(config, /```json\n([\s\S]*?)```/.exec(page)?.[1] ?? '')
    const env = { ORIEL_CONFIG: config, ORIEL_DATA_DIR: folder, ORIEL_ADMIN_KEY: administrator }
    oriel = await createOriel({ logLevel: 'silent', server: { port: 0 } }, { env })
    url = (await oriel.listen()).url
  })
  afterAll(async () => {
    await oriel.close()
    rmSync(folder, { recursive: true, force: true })
  })

  it.each(examplesOf(page))('prints the expected output, with its own settings: example $title', async (example) => {
    const output = await outputOf(example, url, { ORIEL_ADMIN_KEY: administrator })
    expect(output).toMatch(outputs.find(([code]) => code.test(example.code))?.[1] ?? /^no expected output$/)
  })
})
