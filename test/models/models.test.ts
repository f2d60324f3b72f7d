import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findModel, listModels } from '../../src/models/index.ts'
import { pocketFolder } from '../support/pocket.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'oriel-models-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('the library', () => {
  it('has the built-in model, under all of its names', async () => {
    const [card] = (await listModels()).models
    expect(card).toMatchObject({ id: 'pocket', title: 'Pocket', contextTokens: 4096, sampling: { temperature: 0 } })
    expect(await findModel('accounts/oriel/models/pocket')).toEqual(card)
  })

  it('takes a GGUF file by its path, with the vision file that lies beside it', async () => {
    await copyFile(`${pocketFolder}pocket.gguf`, path.join(folder, 'mine.gguf'))
    expect(await findModel(path.join(folder, 'mine.gguf'))).toMatchObject({ id: 'mine', projector: null })
    const vision = async (name: string) => {
      await copyFile(`${pocketFolder}mmproj-pocket.gguf`, path.join(folder, name))
      return path.join(folder, name)
    }
    const one = await vision('mmproj-one.gguf')
    expect((await findModel(path.join(folder, 'mine.gguf'))).projector).toBe(one)
    await vision('mmproj-other.gguf')
    await expect(findModel(path.join(folder, 'mine.gguf'))).rejects.toThrow(/several vision files.*--mmproj/)
    const own = await vision('mmproj-mine.gguf')
    expect((await findModel(path.join(folder, 'mine.gguf'))).projector).toBe(own)
  })

  it('names what there is when a name is unknown', async () => {
    await expect(findModel('gpt-5')).rejects.toMatchObject({
      kind: 'not_found',
      message: expect.stringContaining('There are: pocket'),
    })
    await expect(findModel(path.join(folder, 'none.gguf'))).rejects.toMatchObject({ kind: 'not_found' })
    await expect(findModel(`${pocketFolder}mmproj-pocket.gguf`)).rejects.toThrow(/is a vision file/)
  })
})
