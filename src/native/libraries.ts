import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { arch, platform } from 'node:os'
import path from 'node:path'
import koffi, { type LibraryHandle } from 'koffi'
import { OrielError } from '../errors.ts'

/** What computes: the processor alone, or a GPU by one of these ways beside it. */
export type Device = 'cpu' | 'cuda' | 'vulkan' | 'metal'
export type GpuDevice = Exclude<Device, 'cpu'>

/**
 * The shared libraries of llama.cpp, from the npm package of this platform. Exactly one release fits the struct
 * layouts in this room: see `abi.ts`.
 */
export interface Libraries {
  ggmlBase: LibraryHandle
  ggml: LibraryHandle
  llama: LibraryHandle
  /** The folder they come from, where ggml finds a CPU back end for each instruction set. */
  folder: string
  /** Where another build of the GPU's back end lies, for older drivers; null: there is none. */
  fallback: string | null
}

/** The packages' names begin with this, and all are of one version: that of package.json. */
const scope = '@node-llama-cpp/'
const version = '3.22.1'

/** `node -p "process.platform + '-' + process.arch"` -> the last part of the package's name, for each device. */
const packages: Readonly<Record<string, Readonly<Partial<Record<Device, string>>>>> = {
  'linux-x64': { cpu: 'linux-x64', cuda: 'linux-x64-cuda', vulkan: 'linux-x64-vulkan' },
  'linux-arm64': { cpu: 'linux-arm64' },
  'darwin-arm64': { cpu: 'mac-arm64-metal', metal: 'mac-arm64-metal' },
  'darwin-x64': { cpu: 'mac-x64' },
  'win32-x64': { cpu: 'win-x64', cuda: 'win-x64-cuda', vulkan: 'win-x64-vulkan' },
  'win32-arm64': { cpu: 'win-arm64' },
}

/** `<platform>-<architecture>` as Node names them. */
export const thisHost = `${platform()}-${arch()}`

/** The GPUs that there may be on a platform, the best way first. */
export const gpusOf = (host: string): GpuDevice[] =>
  (['cuda', 'metal', 'vulkan'] as const).filter((device) => packages[host]?.[device] !== undefined)

/** @returns the command that installs what a device needs */
export function installCommand(device: Device, host: string): string {
  const name = `${scope}${packages[host]?.[device]}`
  return `npm i ${[name, ...(device === 'cuda' ? [`${name}-ext`] : [])].map((one) => `${one}@${version}`).join(' ')}`
}

export const isInstalled = (device: Device, host: string, resolve = resolver): boolean =>
  binariesOf(packages[host]?.[device], resolve) !== undefined

/**
 * @throws OrielError `internal` with one sentence that says which package is missing, and for which platforms there is one
 */
export function loadLibraries(device: Device = 'cpu', host = thisHost): Libraries {
  const { folder, fallback } = findFolder(device, host)
  const files = readdirSync(folder)
  const load = (stem: string): LibraryHandle => {
    const file = libraryAmong(files, stem)
    if (file === undefined)
      throw new OrielError('internal', `The llama.cpp package of this platform holds no ${stem} library.`)
    return koffi.load(path.join(folder, file))
  }
  // Calls on koffi's threads get a stack of this size; its default of 128 KiB is less than a graph's threads may use.
  koffi.config({ async_stack_size: 8 << 20, async_heap_size: 1 << 20, resident_async_pools: 2 })
  return { ggmlBase: load('ggml-base'), ggml: load('ggml'), llama: load('llama'), folder, fallback }
}

/** Linux and macOS: libggml-base.so, libllama.v0.5.0.so, libllama.cuda.v0.5.0.so; Windows: llama.v0.5.0.dll */
export const libraryAmong = (files: readonly string[], stem: string): string | undefined =>
  files.find((name) => new RegExp(`^(lib)?${stem}(\\.[a-z]+)?(\\.v[0-9.]+)?\\.(so|dylib|dll)$`).test(name))

/** Where a device's libraries lie. @throws OrielError as `loadLibraries` does */
export function findFolder(device: Device, host: string, resolve = resolver): Pick<Libraries, 'folder' | 'fallback'> {
  const name = packages[host]?.[device]
  if (name === undefined) {
    const known = Object.keys(packages).filter((other) => packages[other]?.[device] !== undefined)
    throw new OrielError(
      'internal',
      device === 'cpu'
        ? `Oriel's engine has no library for ${host}; there is one for ${known.join(', ')}.`
        : `There is no ${device} for ${host}; there is for ${known.join(', ')}.`,
    )
  }
  const folder = binariesOf(name, resolve)
  if (folder !== undefined) {
    const extension = binariesOf(`${name}-ext`, resolve, name)
    return { folder, fallback: extension === undefined ? null : path.join(extension, 'fallback') }
  }
  throw new OrielError(
    'internal',
    device === 'cpu'
      ? `The package ${scope}${name} is not installed: run npm install without --omit=optional.`
      : `--gpu ${device} needs a package that is not installed: ${installCommand(device, host)}`,
  )
}

type Resolve = (name: string) => string

const resolver: Resolve = createRequire(import.meta.url).resolve

/** @returns undefined where the package is not installed */
function binariesOf(name: string | undefined, resolve: Resolve, folder = name): string | undefined {
  if (name === undefined || folder === undefined) return undefined
  try {
    return path.join(path.dirname(resolve(`${scope}${name}`)), '..', 'bins', folder)
  } catch {
    return undefined
  }
}
