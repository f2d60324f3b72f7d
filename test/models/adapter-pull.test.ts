import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { FakeHub } from '../support/hub.ts'
import { libraryWith } from '../support/library.ts'
import { halvesOf, safetensors, writePeft } from '../support/peft.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-adapter-pull-'))
const models = path.join(folder, 'models')
const cache = path.join(folder, 'hub')
let hub: FakeHub

const config = (more = {}) =>
  Buffer.from(JSON.stringify({ peft_type: 'LORA', r: 4, lora_alpha: 8, base_model_name_or_path: 'x/Pocket', ...more }))
const query = (inputs: number) => safetensors(halvesOf('model.layers.0.self_attn.q_proj', inputs, inputs))

beforeAll(async () => {
  vi.stubEnv('XDG_CACHE_HOME', path.join(folder, 'cache'))
  // A GGUF adapter is one that was converted before.
  const before = libraryWith({ ORIEL_MODELS_DIR: path.join(folder, 'before') })
  writePeft(path.join(folder, 'before', 'adapters', 'made'), halvesOf('model.layers.1.self_attn.v_proj', 192, 192))
  const gguf = readFileSync((await before.adapter('made'))?.decoder ?? '')
  hub = await FakeHub.start({
    'someone/Pocket-Upper': {
      files: {
        'README.md': { content: Buffer.from('# An adapter') },
        'adapter_config.json': { content: config() },
        'adapter_model.safetensors': { content: query(192) },
      },
    },
    'someone/pocket-lora-GGUF': { files: { 'pocket-lora-f32.gguf': { content: gguf } } },
    'someone/large': {
      files: { 'adapter_config.json': { content: config() }, 'adapter_model.safetensors': { content: query(256) } },
    },
  })
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await hub.close()
  rmSync(folder, { recursive: true })
})

const library = () => libraryWith({ ORIEL_MODELS_DIR: models, HF_ENDPOINT: hub.url, HF_HUB_CACHE: cache })
const pull = (name: string) =>
  library().pull(name, { anyway: false, signal: new AbortController().signal, onEvent: () => {} })

describe('an adapter on the hub', () => {
  it('is pulled in the format of PEFT, and only the files that it consists of', async () => {
    expect(await pull('someone/Pocket-Upper')).toMatchObject({
      ...{ kind: 'adapter', id: 'pocket-upper', fits: ['pocket'], unusable: null },
    })
    expect(hub.requests.some((request) => request.includes('README'))).toBe(false)
    expect(await library().adapter('someone/Pocket-Upper')).toMatchObject({ id: 'pocket-upper', base: 'pocket' })
  })

  it('is pulled as GGUF, and is no model', async () => {
    expect(await pull('someone/pocket-lora-GGUF')).toMatchObject({ kind: 'adapter', id: 'pocket-lora-gguf' })
    const { models, broken } = await library().list()
    expect(models.map(({ id }) => id)).toEqual(['pocket'])
    expect(broken).toEqual([])
    const card = await library().adapter('pocket-lora-gguf')
    expect(card).toMatchObject({ fits: ['pocket'], rank: 4 })
    expect(existsSync(card?.decoder ?? '')).toBe(true)
  })

  it('that fits no model here is kept, and says why it cannot be used', async () => {
    const pulled = await pull('someone/large')
    expect(pulled).toMatchObject({ id: 'large', fits: [] })
    expect('unusable' in pulled && pulled.unusable?.message).toContain('256 x 256')
  })

  it('that was pulled before is found without the hub', async () => {
    const offline = libraryWith({ ORIEL_MODELS_DIR: models, HF_HUB_CACHE: cache, HF_HUB_OFFLINE: '1' })
    const options = { anyway: false, signal: new AbortController().signal, onEvent: () => {} }
    expect(await offline.pull('someone/Pocket-Upper', options)).toMatchObject({ kind: 'adapter', id: 'pocket-upper' })
  })

  it('is removed with what was made of it', async () => {
    const card = await library().adapter('pocket-upper')
    const removal = await library().removal('pocket-upper')
    expect(removal).toMatchObject({ id: 'pocket-upper', decoder: null })
    expect([...removal.files].sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors'])
    expect(await removal.remove()).toBe(removal.bytes)
    expect(await library().adapter('pocket-upper')).toBeUndefined()
    expect(existsSync(card?.decoder ?? '')).toBe(false)
  })
})

it('an adapter of the folder of models is removed, and the folder of adapters stays', async () => {
  const own = path.join(models, 'adapters', 'mine')
  writePeft(own, halvesOf('model.layers.1.self_attn.v_proj', 192, 192))
  const removal = await library().removal('mine')
  expect(removal.files).toHaveLength(2)
  await removal.remove()
  expect([existsSync(own), existsSync(path.join(models, 'adapters'))]).toEqual([false, true])
})
