import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { catalogue, machineOfReference } from '../../src/models/index.ts'

it('docs/models.md has the speeds of the catalogue, and the machine on which they were measured', () => {
  const page = readFileSync(new URL('../../docs/models.md', import.meta.url), 'utf8')
  expect(page).toContain(machineOfReference)
  const [, table = ''] = page.split(/^\| model +\| to the first word .*\n.*\n/m)
  const rows = (table.split('\n\n', 1)[0] ?? '').split('\n').map((row) => row.split('|').map((cell) => cell.trim()))
  const measured = catalogue.flatMap(({ id, measured: speed }) =>
    speed === undefined ? [] : [[`\`${id}\``, `${speed.imageSeconds} s`, `${speed.tokensPerSecond}`]],
  )
  expect(measured.length).toBeGreaterThan(2)
  expect(rows.map(([, ...cells]) => cells.slice(0, 3))).toEqual(measured)
})
