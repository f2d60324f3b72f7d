import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { OrielError } from '../../src/errors.ts'
import { headerOf } from '../../src/gguf/index.ts'
import { readSafetensors } from '../../src/models/peft/safetensors.ts'
import { libraryWith } from '../support/library.ts'
import { halvesOf, safetensors, writePeft } from '../support/peft.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-adapters-'))
const models = path.join(folder, 'models')
const adapters = path.join(models, 'adapters')
const library = libraryWith({ ORIEL_MODELS_DIR: models })
const ofPocket = halvesOf('model.layers.0.self_attn.q_proj', 192, 192)

beforeAll(() => {
  vi.stubEnv('XDG_CACHE_HOME', path.join(folder, 'cache'))
  mkdirSync(adapters, { recursive: true })
})
afterAll(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

const kept = () => readdirSync(path.join(folder, 'cache', 'oriel', 'adapters')).sort()
const reasonOf = async (id: string) => (await library.adapters()).broken.find((one) => one.id === id)?.error.message

describe('the adapters of a machine', () => {
  it('are found in the folder of models, with the models that they fit', async () => {
    writePeft(path.join(adapters, 'Upper Case'), ofPocket, { base_model_name_or_path: 'someone/Pocket' })
    const { adapters: found, broken } = await library.adapters()
    expect(broken).toEqual([])
    expect(found).toMatchObject([
      { id: 'upper-case', base: 'pocket', fits: ['pocket'], architecture: 'llama', rank: 4, alpha: 8, vision: null },
    ])
    expect(found[0]?.aliases).toContain('accounts/oriel/models/upper-case')
    // The folder is not taken for a model.
    expect((await library.list()).broken).toEqual([])
  })

  it('are converted when one is looked for, once, and again when it was changed', async () => {
    const [card, same] = await Promise.all([library.adapter('upper-case'), library.adapter('Upper Case')])
    expect(card).toEqual(same)
    const header = await headerOf(card?.decoder ?? '')
    expect(header.metadata.get('general.type')).toBe('adapter')
    expect(header.tensors.map(({ name }) => name)).toEqual(['blk.0.attn_q.weight.lora_a', 'blk.0.attn_q.weight.lora_b'])
    expect(kept()).toEqual([path.basename(card?.decoder ?? '')])

    utimesSync(path.join(adapters, 'Upper Case', 'adapter_model.safetensors'), 1, 1)
    const changed = await library.adapter('upper-case')
    expect(changed?.version).not.toBe(card?.version)
    expect(kept()).toEqual([path.basename(changed?.decoder ?? '')])
  })

  it('are converted again after what was kept was deleted', async () => {
    rmSync(path.join(folder, 'cache'), { recursive: true })
    await library.adapter('upper-case')
    expect(kept()).toHaveLength(1)
  })

  it('can be GGUF files, which are used as they are', async () => {
    const made = await library.adapter('upper-case')
    copyFileSync(made?.decoder ?? '', path.join(adapters, 'plain.gguf'))
    expect(await library.adapter('plain')).toMatchObject({
      decoder: path.join(adapters, 'plain.gguf'),
      ...{ base: null, fits: ['pocket'], architecture: 'llama', rank: 4, alpha: 8 },
    })
  })

  it('have a vision half in a file of its own', async () => {
    const eyes = halvesOf('vision_tower.transformer.layers.1.attention.q_proj', 256, 256)
    writePeft(path.join(adapters, 'eyes'), [...ofPocket, ...eyes])
    const card = await library.adapter('eyes')
    const header = await headerOf(card?.vision ?? '')
    expect(header.metadata.get('general.architecture')).toBe('clip')
    expect(header.tensors.map(({ name }) => name)).toEqual([
      'v.blk.1.attn_q.weight.lora_a',
      'v.blk.1.attn_q.weight.lora_b',
    ])
    rmSync(path.join(adapters, 'eyes'), { recursive: true })
  })

  it('that cannot be used are listed with the reason, and looking for one is refused with it', async () => {
    const place = (name: string) => path.join(adapters, name)
    writePeft(place('wide'), halvesOf('model.layers.0.self_attn.q_proj', 64, 64))
    writePeft(place('strange'), halvesOf('model.layers.0.self_attn.whatever', 192, 192))
    writePeft(place('pocket'), ofPocket)
    writePeft(place('orphan'), ofPocket)
    writeFileSync(path.join(place('orphan'), 'oriel.json'), '{"base": "qwen3-vl-2b"}')
    writePeft(place('cut'), ofPocket)
    truncateSync(path.join(place('cut'), 'adapter_model.safetensors'), 3000)
    writeFileSync(place('text.gguf'), 'hello')
    expect(await reasonOf('wide')).toContain(
      'made for a matrix of 64 x 64, and blk.0.attn_q of the model has 192 x 192',
    )
    expect(await reasonOf('strange')).toContain('self_attn.whatever')
    expect(await reasonOf('pocket')).toContain('same name')
    expect(await reasonOf('orphan')).toContain('It is for qwen3-vl-2b, which is not on this machine')
    expect(await reasonOf('cut')).toContain('truncated')
    expect(await reasonOf('text')).toContain('text.gguf is not a valid GGUF file')
    await expect(library.adapter('wide')).rejects.toMatchObject({
      ...{ kind: 'precondition_failed', code: 'adapter_unusable', param: 'model' },
      message: expect.stringContaining('The adapter wide cannot be used.'),
    })
    expect(await library.adapter('unknown')).toBeUndefined()
  })
})

describe('a file of safetensors', () => {
  it('that is damaged anywhere is refused or read, and nothing else happens', async () => {
    const whole = safetensors(halvesOf('model.layers.0.self_attn.q_proj', 8, 8))
    const file = path.join(folder, 'damaged.safetensors')
    const damage = fc.oneof(
      fc.record({ at: fc.nat(whole.length - 1), byte: fc.nat(255) }),
      fc.record({ length: fc.nat(whole.length) }),
    )
    await fc.assert(
      fc.asyncProperty(damage, async (what) => {
        const bytes = Buffer.from(whole)
        if ('at' in what) bytes[what.at] = what.byte
        writeFileSync(file, 'length' in what ? bytes.subarray(0, what.length) : bytes)
        const read = await readSafetensors(file, 'damaged.safetensors').catch((error: unknown) => error)
        if (read instanceof Error) expect(read).toBeInstanceOf(OrielError)
        else
          for (const { at, shape } of read as Awaited<ReturnType<typeof readSafetensors>>)
            expect(at + shape.reduce((product, size) => product * size, 1) * 2).toBeLessThanOrEqual(bytes.length)
      }),
      { numRuns: 300 },
    )
  })
})
