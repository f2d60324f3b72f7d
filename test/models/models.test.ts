import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { libraryWith } from '../support/library.ts'
import { pocketFolder } from '../support/pocket.ts'

const library = libraryWith()
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'oriel-models-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('the library', () => {
  it('has the built-in model under all of its names', async () => {
    const [card] = (await library.list()).models
    expect(card).toMatchObject({ id: 'pocket', title: 'Pocket', contextTokens: 4096, sampling: { temperature: 0 } })
    expect(await library.find('accounts/oriel/models/pocket')).toEqual(card)
  })

  it('finds a GGUF file by its path, with the vision file in its folder', async () => {
    await copyFile(`${pocketFolder}pocket.gguf`, path.join(folder, 'mine.gguf'))
    expect(await library.find(path.join(folder, 'mine.gguf'))).toMatchObject({ id: 'mine', projector: null })
    const vision = async (name: string) => {
      await copyFile(`${pocketFolder}mmproj-pocket.gguf`, path.join(folder, name))
      return path.join(folder, name)
    }
    const one = await vision('mmproj-one.gguf')
    expect((await library.find(path.join(folder, 'mine.gguf'))).projector).toBe(one)
    await vision('mmproj-other.gguf')
    await expect(library.find(path.join(folder, 'mine.gguf'))).rejects.toMatchObject({
      code: 'several_vision_files',
      message: 'The folder of the model has several vision files: mmproj-one.gguf, mmproj-other.gguf.',
    })
    const own = await vision('mmproj-mine.gguf')
    expect((await library.find(path.join(folder, 'mine.gguf'))).projector).toBe(own)
  })

  it('names the models if a name is unknown', async () => {
    await expect(library.find('gpt-5')).rejects.toMatchObject({
      kind: 'not_found',
      message: 'There is no model gpt-5. The models are: pocket.',
    })
    await expect(library.find(path.join(folder, 'none.gguf'))).rejects.toMatchObject({ kind: 'not_found' })
    await expect(library.find(`${pocketFolder}mmproj-pocket.gguf`)).rejects.toThrow(/is a vision file/)
  })
})
