import { copyFile, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { remove } from '../../src/cli/rm.ts'
import { pocketFolder } from '../support/pocket.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'oriel-rm-'))
  await copyFile(`${pocketFolder}pocket.gguf`, path.join(folder, 'mine.gguf'))
  await writeFile(path.join(folder, 'notes.txt'), '')
  vi.spyOn(process.stdout, 'write').mockReturnValue(true)
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(folder, { recursive: true })
})

describe('oriel rm', () => {
  it.each([
    ['y\n', ['notes.txt']],
    ['yes\n', ['notes.txt']],
    ['n\n', ['mine.gguf', 'notes.txt']],
    ['\n', ['mine.gguf', 'notes.txt']],
    // The terminal is closed, or Ctrl-D.
    ['', ['mine.gguf', 'notes.txt']],
  ])('asks first: %j', async (answer, left) => {
    const terminal = Object.assign(new PassThrough(), { isTTY: true })
    vi.spyOn(process, 'stdin', 'get').mockReturnValue(terminal as never)
    terminal.end(answer)
    await remove('mine', { modelsDir: folder })
    expect((await readdir(folder)).sort()).toEqual(left)
  })
})
