import { copyFile, mkdtemp, readdir, rm } from 'node:fs/promises'
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
  vi.spyOn(process.stdout, 'write').mockReturnValue(true)
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(folder, { recursive: true })
})

describe('oriel rm', () => {
  it.each([
    ['y\n', []],
    ['yes\n', []],
    ['n\n', ['mine.gguf']],
    ['\n', ['mine.gguf']],
    // The terminal is closed, or Ctrl-D.
    ['', ['mine.gguf']],
  ])('removes the file only after the answer yes: %j', async (answer, left) => {
    const terminal = Object.assign(new PassThrough(), { isTTY: true })
    vi.spyOn(process, 'stdin', 'get').mockReturnValue(terminal as never)
    terminal.end(answer)
    await remove('mine', { modelsDir: [folder] })
    // The folder itself stays.
    expect(await readdir(folder)).toEqual(left)
  })
})
