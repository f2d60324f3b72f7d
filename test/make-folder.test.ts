import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { platform, tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeFolder } from '../src/make-folder.ts'

let place: string
beforeEach(async () => {
  place = await mkdtemp(path.join(tmpdir(), 'oriel-folder-'))
})
afterEach(() => rm(place, { recursive: true }))

describe('a folder', () => {
  it('is made with those above it, also by several at once and if it is there', async () => {
    const deep = path.join(place, 'a', 'b', 'c')
    await Promise.all(Array.from({ length: 20 }, () => makeFolder(deep, 0o700)))
    await makeFolder(deep)
    await makeFolder(path.parse(deep).root)
    expect((await stat(path.join(place, 'a'))).mode & 0o777).toBe(platform() === 'win32' ? 0o666 : 0o700)
  })

  it('is refused where a file is, and below one', async () => {
    const file = path.join(place, 'file')
    await writeFile(file, '')
    await expect(makeFolder(file)).rejects.toMatchObject({ code: 'EEXIST' })
    await expect(makeFolder(path.join(file, 'x', 'y'))).rejects.toBeInstanceOf(Error)
  })

  it.skipIf(platform() !== 'linux')('is refused where the system has no place for it', async () => {
    for (const folder of ['/proc/oriel', '/proc/oriel/x/y'])
      await expect(makeFolder(folder)).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
