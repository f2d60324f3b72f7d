import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { audioFamilies, imageFamilies } from '../../src/encoders/index.ts'
import { catalogue, familiesOf } from '../../src/models/index.ts'

const types = imageFamilies.flatMap((family) => family.types)
const heard = audioFamilies.flatMap((family) => family.types)

it('has each type of vision file in one family', () => {
  expect(new Set(types).size).toBe(types.length)
})

it('has every family that docs/models.md describes', () => {
  const page = readFileSync(new URL('../../docs/models.md', import.meta.url), 'utf8')
  const [, table = ''] = page.split(/^\| family .*\n.*\n/m)
  const described = table
    .split(/\n\n/, 1)
    .join()
    .split('\n')
    .flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map(([, type]) => type))
  expect(described.length).toBeGreaterThan(10)
  expect(types).toEqual(expect.arrayContaining(described))
})

it('describes every family of audio encoders in docs/models.md', () => {
  const page = readFileSync(new URL('../../docs/models.md', import.meta.url), 'utf8')
  const [, section = ''] = page.split('\n## Sounds\n')
  const [table = ''] = section.split('\n\nWhisper always', 1)
  const described = [...table.matchAll(/^\| (`.*?) \|/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, type]) => type),
  )
  expect(described.sort()).toEqual(audioFamilies.flatMap((family) => family.types).sort())
})

it('runs every model of the catalogue', () => {
  const decoders = readFileSync(new URL('../../models/architectures.txt', import.meta.url), 'utf8').split(/\s+/)
  const runs = catalogue.filter(
    (entry) =>
      (entry.sees === null || types.includes(entry.sees)) &&
      (entry.hears === null || heard.includes(entry.hears)) &&
      familiesOf(entry).length > 0 &&
      decoders.includes(entry.architecture),
  )
  expect(catalogue.filter((entry) => !runs.includes(entry)).map(({ id }) => id)).toEqual([])
})
