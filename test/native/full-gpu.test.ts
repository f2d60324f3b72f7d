import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { openImageEncoder, tilesOf } from '../../src/encoders/index.ts'
import type { Backend, Ggml, Llama } from '../../src/native/index.ts'
import { openSmall } from '../support/decoder.ts'
import { pocketFolder } from '../support/pocket.ts'

/** Calls to the simulated GPU, which has no memory. */
const asked = { layers: [] as number[], weights: 0, freed: 0 }
beforeEach(() => {
  Object.assign(asked, { layers: [], weights: 0, freed: 0 })
})

vi.mock('../../src/native/index.ts', async (importActual) => {
  const actual = await importActual<typeof import('../../src/native/index.ts')>()
  const native = actual.openNative()
  let gpu: Backend | null = null
  const ggml: Ggml = {
    ...native.ggml,
    gpus: () => [{ name: 'full', integrated: false, freeMemory: 64e9 }],
    initGpu: () => {
      gpu = native.ggml.initCpu()
      return gpu
    },
    allocContextTensors: (context, backend) => {
      if (backend !== gpu) return native.ggml.allocContextTensors(context, backend)
      asked.weights++
      return null
    },
    freeBackend: (backend) => {
      native.ggml.freeBackend(backend)
      if (backend !== gpu) return
      asked.freed++
      // The next object may have the same address.
      gpu = null
    },
  }
  const llama: Llama = {
    ...native.llama,
    loadModel: (file, gpuLayers, onProgress) => {
      asked.layers.push(gpuLayers)
      return gpuLayers > 0 ? null : native.llama.loadModel(file, gpuLayers, onProgress)
    },
  }
  return { ...actual, openNative: () => ({ ...native, ggml, llama }) }
})

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-gpu-'))
afterAll(() => rmSync(folder, { recursive: true }))

const gpu = { device: 'cuda', layers: 4, bytes: 1e6, reserved: 0 } as const

describe('a GPU that reports memory and has none', () => {
  it('loads the decoder with fewer layers on it, down to none', () => {
    const decoder = openSmall(`${pocketFolder}pocket.gguf`, { gpu })
    expect([asked.layers, decoder.gpuLayers]).toEqual([[5, 2, 1, 0], 0])
    decoder.close()
  })

  it('refuses a file that is not a model', () => {
    const file = path.join(folder, 'none.gguf')
    expect(() => openSmall(file, { gpu })).toThrow(/could not be loaded: it is damaged/)
  })

  it('encodes images on the CPU with the configured runtime', async () => {
    const file = `${pocketFolder}mmproj-pocket.gguf`
    const how = { runtime: 'onnx', precision: 'fp32', threads: 1, device: 'cuda' } as const
    const { architecture, encode, runtime } = await openImageEncoder(file, how)
    expect([runtime, asked.weights, asked.freed]).toEqual(['onnx', 1, 1])
    const image = { width: 64, height: 64, rgb: new Uint8Array(64 * 64 * 3) }
    const plan = architecture.plan(image, 'low')
    const [tile] = tilesOf(plan)
    if (tile === undefined) throw new Error('no tile')
    expect(await encode(architecture.scale(image, plan), tile, 1)).toHaveLength(tile.tokens * architecture.width)
  })
})
