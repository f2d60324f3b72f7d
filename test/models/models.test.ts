import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
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
    const [card] = await listModels()
    expect(card).toMatchObject({ id: 'pocket', title: 'Pocket', contextTokens: 4096, sampling: { temperature: 0 } })
    expect(await findModel('accounts/oriel/models/pocket')).toEqual(card)
  })

  it('takes a GGUF file by its path, with the vision file that lies beside it', async () => {
    await copyFile(`${pocketFolder}pocket.gguf`, path.join(folder, 'mine.gguf'))
    expect(await findModel(path.join(folder, 'mine.gguf'))).toMatchObject({ id: 'mine', projector: null })
    await copyFile(`${pocketFolder}mmproj-pocket.gguf`, path.join(folder, 'mmproj-mine.gguf'))
    expect((await findModel(path.join(folder, 'mine.gguf'))).projector).toBe(path.join(folder, 'mmproj-mine.gguf'))
    await copyFile(`${pocketFolder}mmproj-pocket.gguf`, path.join(folder, 'mmproj-other.gguf'))
    await expect(findModel(path.join(folder, 'mine.gguf'))).rejects.toThrow(/several vision files.*--mmproj/)
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

describe('a GGUF header that is broken', () => {
  it('is refused wherever it breaks, and never costs more than its own size', async () => {
    const whole = await readFile(`${pocketFolder}pocket.gguf`)
    const file = path.join(folder, 'broken.gguf')
    const attempt = async (bytes: Uint8Array) => {
      await writeFile(file, bytes)
      return findModel(file, `${pocketFolder}mmproj-pocket.gguf`)
    }
    await expect(attempt(Buffer.from('GGML'))).rejects.toMatchObject({ kind: 'invalid', code: 'bad_model' })
    for (const length of [0, 3, 7, 15, 23, 24, 40, 200, 5000])
      await expect(attempt(whole.subarray(0, length))).rejects.toMatchObject({ kind: 'invalid', code: 'bad_model' })
    for (let at = 0; at < 24; at++) {
      const mutated = Buffer.from(whole.subarray(0, 20_000))
      mutated[at] = 0xff
      // Counts of tensors are checked against the file's size alone, so some changes go unseen here; none may crash.
      await attempt(mutated).catch((error: unknown) => expect(error).toMatchObject({ kind: 'invalid' }))
    }
    const hugeString = Buffer.from(whole.subarray(0, 20_000))
    hugeString.writeBigUInt64LE(2n ** 62n, 24)
    await expect(attempt(hugeString)).rejects.toThrow(/a count in its header is larger than the file/)
  })
})
