import { copyFile, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { remove } from '../../src/cli/rm.ts'
import { halvesOf, writePeft } from '../support/peft.ts'
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
  it('leaves what an adapter of a training has beside its files', async () => {
    const own = path.join(folder, 'adapters', 'trained')
    await mkdir(path.join(own, 'checkpoint-500'), { recursive: true })
    writePeft(own, halvesOf('model.layers.0.self_attn.q_proj', 192, 192))
    const terminal = Object.assign(new PassThrough(), { isTTY: true })
    vi.spyOn(process, 'stdin', 'get').mockReturnValue(terminal as never)
    terminal.end('y\n')
    await remove('trained', { modelsDir: [folder] })
    expect(await readdir(own)).toEqual(['checkpoint-500'])
  })

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
