import { chmod, copyFile, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { decodersOf, projectorFor } from '../../src/models/file-names.ts'
import { catalogue, entryOf } from '../../src/models/index.ts'
import { type Value, writeGguf } from '../support/gguf-file.ts'
import { libraryWith } from '../support/library.ts'
import { pocketFolder } from '../support/pocket.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'oriel-places-'))
})
afterEach(() => rm(folder, { recursive: true }))

const library = () => libraryWith({ ORIEL_MODELS_DIR: folder, HF_HOME: folder })
const decoder = (...to: string[]) => copyFile(`${pocketFolder}pocket.gguf`, path.join(folder, ...to))
const vision = (...to: string[]) => copyFile(`${pocketFolder}mmproj-pocket.gguf`, path.join(folder, ...to))
const ids = async () => (await library().list()).models.map(({ id }) => id)

describe('a folder of GGUF files', () => {
  it('has a model for each file and one for each folder', async () => {
    await decoder('lonely.gguf')
    await mkdir(path.join(folder, 'pair'))
    await decoder('pair', 'some-Q8_0.gguf')
    await vision('pair', 'mmproj-some-F16.gguf')
    await mkdir(path.join(folder, 'two'))
    await decoder('two', 'a.gguf')
    await decoder('two', 'b.gguf')
    expect(await ids()).toEqual(['pocket', 'lonely', 'pair', 'two/a', 'two/b'])
    expect(await library().find('accounts/oriel/models/pair')).toMatchObject({
      id: 'pair',
      projector: path.join(folder, 'pair', 'mmproj-some-F16.gguf'),
    })
  })

  it('lists once what two files are called: the one that requests reach', async () => {
    await decoder('pocket.gguf')
    expect(await ids()).toEqual(['pocket'])
    const { decoder: reached } = await library().find('pocket')
    expect(reached).toBe((await library().list()).models[0]?.decoder)
  })

  it('reports the files that cannot be served', async () => {
    await decoder('good.gguf')
    await vision('not-named-so.gguf')
    const { models, broken } = await library().list()
    expect(models.map(({ id }) => id)).toEqual(['pocket', 'good'])
    expect(broken).toMatchObject([
      { id: 'not-named-so', error: { message: expect.stringContaining('is a vision file') } },
    ])
  })

  it('can be listed while models are removed', async () => {
    let over = false
    const churn = async (): Promise<void> => {
      while (!over) {
        await mkdir(path.join(folder, 'pair'))
        await Promise.all([decoder('pair', 'some.gguf'), vision('pair', 'mmproj-some.gguf')])
        await rm(path.join(folder, 'pair'), { recursive: true })
      }
    }
    const churning = churn()
    for (let times = 0; times < 300; times++) await expect(ids()).resolves.toContain('pocket')
    over = true
    await churning
  })

  // Root can read every file.
  it.skipIf(process.getuid?.() === 0)('has a file as soon as it is readable', async () => {
    await decoder('mine.gguf')
    await chmod(path.join(folder, 'mine.gguf'), 0)
    expect(await ids()).toEqual(['pocket'])
    await chmod(path.join(folder, 'mine.gguf'), 0o644)
    expect(await ids()).toEqual(['pocket', 'mine'])
  })

  it('has models without attention, which keep no memory for a token', async () => {
    const metadata: Record<string, Value> = {
      'general.architecture': { string: 'mamba' },
      'mamba.block_count': { u32: 1 },
      'mamba.embedding_length': { u32: 64 },
      'mamba.context_length': { u32: 128 },
      'mamba.attention.head_count': { u32: 0 },
    }
    const tensors = [{ name: 'token_embd.weight', shape: [64, 4], fill: { deviation: 0.1 } }]
    writeGguf(path.join(folder, 'mamba.gguf'), metadata, tensors, 1)
    expect((await library().find('mamba')).size.bytesPerToken).toBe(0)
  })

  it('has a split model as one, if all parts exist', async () => {
    const part = (no: number, name: string) => {
      const first: Record<string, Value> = {
        'general.architecture': { string: 'llama' },
        'llama.block_count': { u32: 1 },
        'llama.embedding_length': { u32: 64 },
        'llama.context_length': { u32: 128 },
      }
      const split: Record<string, Value> = { 'split.no': { u32: no }, 'split.count': { u32: 3 } }
      const tensors = [{ name: `blk.${no}.weight`, shape: [64, 4], fill: { deviation: 0.1 } }]
      writeGguf(path.join(folder, name), no === 0 ? { ...first, ...split } : split, tensors, 1)
    }
    part(0, 'big-00001-of-00003.gguf')
    part(1, 'big-00002-of-00003.gguf')
    await expect(library().find(path.join(folder, 'big-00001-of-00003.gguf'))).rejects.toThrow(
      'big-00001-of-00003.gguf is split, and these parts are missing: big-00003-of-00003.gguf.',
    )
    expect(await ids()).toEqual(['pocket'])
    part(2, 'big-00003-of-00003.gguf')
    expect(await ids()).toEqual(['pocket', 'big'])
    const { bytes } = await library().find(path.join(folder, 'big-00001-of-00003.gguf'))
    expect(bytes).toBe((await library().find('big')).bytes)
    await expect(library().find(path.join(folder, 'big-00002-of-00003.gguf'))).rejects.toThrow()
  })
})

describe("the hub's cache", () => {
  it('has models under the names of the repository, the catalogue and hosted services', async () => {
    const snapshot = path.join('hub', 'models--ggml-org--Qwen2.5-VL-32B-Instruct-GGUF', 'snapshots', 'a'.repeat(40))
    await mkdir(path.join(folder, snapshot), { recursive: true })
    await decoder(snapshot, 'Qwen2.5-VL-32B-Instruct-Q4_K_M.gguf')
    await vision(snapshot, 'mmproj-Qwen2.5-VL-32B-Instruct-f16.gguf')
    // A dangling link is not a model.
    await symlink('../../blobs/gone', path.join(folder, snapshot, 'Qwen2.5-VL-32B-Instruct-Q8_0.gguf'))
    const id = 'ggml-org/Qwen2.5-VL-32B-Instruct-GGUF:Q4_K_M'
    expect(await ids()).toEqual(['pocket', id])
    for (const name of [
      id,
      'ggml-org/Qwen2.5-VL-32B-Instruct-GGUF',
      'qwen2.5-vl-32b',
      'accounts/fireworks/models/qwen2p5-vl-32b-instruct',
    ])
      expect(await library().find(name)).toMatchObject({ id })
  })
})

describe('a snapshot that cannot be read', () => {
  it('counts as empty', async () => {
    const snapshots = path.join(folder, 'hub', 'models--someone--Pocket-GGUF', 'snapshots')
    await mkdir(snapshots, { recursive: true })
    await symlink(path.join(folder, 'nowhere'), path.join(snapshots, 'gone'))
    expect(await ids()).toEqual(['pocket'])
  })
})

describe('the catalogue', () => {
  it('has at least 25 models, each with unique names', () => {
    expect(catalogue.length).toBeGreaterThanOrEqual(25)
    const names = catalogue.flatMap(({ id, repo, aliases }) => [id, repo, ...aliases])
    expect(new Set(names).size).toBe(names.length)
    for (const { repo, parameters, contextTokens, licence, use } of catalogue) {
      expect(repo).toMatch(/^[\w.-]+\/[\w.-]+gguf$/i)
      expect(Math.min(parameters, contextTokens)).toBeGreaterThan(0)
      expect([licence, use]).toEqual([expect.stringMatching(/\w/), expect.stringMatching(/\w/)])
    }
    expect(entryOf('qwen/qwen2.5-vl-72b-instruct')?.id).toBe('qwen2.5-vl-72b')
    expect(entryOf('accounts/fireworks/models/qwen2p5-vl-32b-instruct')?.id).toBe('qwen2.5-vl-32b')
  })
})

describe('file names', () => {
  const files = (...paths: string[]) => paths.map((name) => ({ path: name }))
  const quants = (...paths: string[]) => decodersOf(files(...paths)).map(({ quant }) => quant)

  it('give the quantization, and exclude files that are not models', () => {
    expect(
      quants(
        'Qwen3-VL-8B-UD-Q4_K_XL.gguf',
        'model.Q5_K_M.gguf',
        'pixtral-12b-IQ4_XS.gguf',
        'gemma-3-4b-it-bf16.gguf',
        'moondream2-text-model-fp16.gguf',
        'Q6_K/big-Q6_K-00001-of-00001.gguf',
        'imatrix.gguf',
        'mtp-Qwen.gguf',
        'README.md',
      ),
    ).toEqual(['UD-Q4_K_XL', 'Q5_K_M', 'Q6_K', 'F16', 'BF16', 'IQ4_XS'])
  })

  it('are ranked: Q4_K_M before Q8_0 before all others', () => {
    expect(quants('a-Q2_K.gguf', 'a-F16.gguf', 'a-Q8_0.gguf', 'a-Q4_K_M.gguf')).toEqual([
      'Q4_K_M',
      'Q8_0',
      'F16',
      'Q2_K',
    ])
  })

  it('give the vision file of a model', () => {
    const several = files('mmproj-BF16.gguf', 'mmproj-F32.gguf', 'mmproj-F16.gguf')
    expect(projectorFor(several, 'Qwen-Q4_K_M')?.path).toBe('mmproj-F16.gguf')
    const mixed = files('mmproj-a.gguf', 'b-mmproj.gguf', 'x/mmproj-F16.gguf')
    expect(projectorFor(mixed, 'a')?.path).toBe('mmproj-a.gguf')
    expect(projectorFor(mixed, 'b')?.path).toBe('b-mmproj.gguf')
    expect(projectorFor(mixed, 'x/c')?.path).toBe('x/mmproj-F16.gguf')
  })
})
