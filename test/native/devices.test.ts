import { describe, expect, it } from 'vitest'
import { chooseDevice } from '../../src/engine/index.ts'
import { layersThatFit } from '../../src/language/offload.ts'
import { createLogger } from '../../src/log.ts'
import {
  findFolder,
  type GpuDevice,
  gpusOf,
  installCommand,
  isInstalled,
  libraryAmong,
  thisHost,
} from '../../src/native/libraries.ts'

/** Resolves only these packages. */
const having =
  (...installed: string[]) =>
  (name: string): string => {
    if (!installed.some((one) => name === `@node-llama-cpp/${one}`)) throw new Error(`Cannot find module '${name}'`)
    return `/modules/${name}/dist/index.js`
  }

describe("each device's libraries", () => {
  it.each([
    ['linux-x64', ['cuda', 'vulkan']],
    ['linux-arm64', []],
    ['darwin-arm64', ['metal']],
    ['darwin-x64', []],
    ['win32-x64', ['cuda', 'vulkan']],
    ['win32-arm64', []],
  ])('on %s there may be %j', (host, devices) => {
    expect(gpusOf(host)).toEqual(devices)
  })

  it('are in the package of the platform', () => {
    const bins = (name: string) => `/modules/@node-llama-cpp/${name}/bins/${name}`
    expect(findFolder('vulkan', 'linux-x64', having('linux-x64-vulkan'))).toEqual({
      folder: bins('linux-x64-vulkan'),
      fallback: null,
    })
    expect(findFolder('cuda', 'win32-x64', having('win-x64-cuda', 'win-x64-cuda-ext'))).toEqual({
      folder: bins('win-x64-cuda'),
      fallback: '/modules/@node-llama-cpp/win-x64-cuda-ext/bins/win-x64-cuda/fallback',
    })
    const mac = having('mac-arm64-metal')
    expect(findFolder('metal', 'darwin-arm64', mac)).toEqual(findFolder('cpu', 'darwin-arm64', mac))
    expect([isInstalled('cuda', 'linux-x64', having('linux-x64')), isInstalled('metal', 'darwin-arm64', mac)]).toEqual([
      false,
      true,
    ])
  })

  it('are refused with the command that installs them', () => {
    expect(() => findFolder('cuda', 'linux-x64', having('linux-x64'))).toThrow(
      'The package for cuda is not installed. To install it: npm i @node-llama-cpp/linux-x64-cuda@3.22.1 @node-llama-cpp/linux-x64-cuda-ext@3.22.1',
    )
    expect(installCommand('vulkan', 'win32-x64')).toBe('npm i @node-llama-cpp/win-x64-vulkan@3.22.1')
    expect(() => findFolder('metal', 'linux-x64')).toThrow(
      'metal is not supported on linux-x64. Supported platforms: darwin-arm64.',
    )
  })

  it('are found by name for every device', () => {
    const cuda = [
      'libggml-base.so',
      'libggml-cuda.so',
      'libggml.cuda.v0.5.0.so',
      'libllama.cuda.v0.5.0.so',
      'libllama-common.so',
    ]
    expect(['ggml-base', 'ggml', 'llama', 'ggml-cuda'].map((stem) => libraryAmong(cuda, stem))).toEqual([
      'libggml-base.so',
      'libggml.cuda.v0.5.0.so',
      'libllama.cuda.v0.5.0.so',
      'libggml-cuda.so',
    ])
    expect(libraryAmong(['ggml-base.dll', 'ggml.v0.5.0.dll'], 'ggml')).toBe('ggml.v0.5.0.dll')
  })
})

describe('the choice of a device', () => {
  const log = createLogger('silent')

  it('is the CPU for off, and for auto without a GPU', async () => {
    expect((await chooseDevice('off', log)).device).toBe('cpu')
    const installed = gpusOf(thisHost).some((device) => isInstalled(device, thisHost))
    if (!installed) expect((await chooseDevice('auto', log)).device).toBe('cpu')
  })

  it.each(['cuda', 'vulkan', 'metal'] satisfies GpuDevice[])(
    'refuses %s without its package, naming it',
    async (device) => {
      if (isInstalled(device, thisHost)) return
      await expect(chooseDevice(device, log)).rejects.toMatchObject({
        kind: 'invalid',
        code: 'no_gpu',
        message: expect.stringMatching(/npm i @node-llama-cpp|is not supported on/),
      })
    },
  )
})

describe('the layers on a GPU', () => {
  it('are all, some or none, with room for the buffers of a step', () => {
    expect(layersThatFit(32, 8e9, 24e9)).toBe(33)
    expect(layersThatFit(32, 16e9, 10e9)).toBe(18)
    expect(layersThatFit(32, 16e9, 0.5e9)).toBe(0)
    expect(layersThatFit(32, 16e9, -1)).toBe(0)
  })
})
