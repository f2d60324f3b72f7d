import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { arch, platform } from 'node:os'
import path from 'node:path'
import koffi, { type LibraryHandle } from 'koffi'
import { OrielError } from '../errors.ts'

/** The device that computes: the CPU alone, or a GPU through one of these interfaces. */
export type Device = 'cpu' | 'cuda' | 'vulkan' | 'metal'
export type GpuDevice = Exclude<Device, 'cpu'>

/**
 * The shared libraries of llama.cpp, from the npm package of this platform. The struct layouts in this room fit exactly
 * one release: see `abi.ts`.
 */
export interface Libraries {
  ggmlBase: LibraryHandle
  ggml: LibraryHandle
  llama: LibraryHandle
  /** Their folder, where ggml finds a CPU back end for each instruction set. */
  folder: string
  /** Folder of another build of the GPU back end, for older drivers; null if there is none. */
  fallback: string | null
}

/** Scope of the packages, and their version as in package.json. */
const scope = '@node-llama-cpp/'
const version = '3.22.1'

/** Packages by `<platform>-<architecture>` and device. */
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

/** The GPU interfaces that a platform may have, in the order of preference. */
export const gpusOf = (host: string): GpuDevice[] =>
  (['cuda', 'metal', 'vulkan'] as const).filter((device) => packages[host]?.[device] !== undefined)

/** @returns the command that installs a device's package */
export function installCommand(device: Device, host: string): string {
  const name = `${scope}${packages[host]?.[device]}`
  return `npm i ${[name, ...(device === 'cuda' ? [`${name}-ext`] : [])].map((one) => `${one}@${version}`).join(' ')}`
}

export const isInstalled = (device: Device, host: string, resolve = resolver): boolean =>
  binariesOf(packages[host]?.[device], resolve) !== undefined

/** @throws OrielError `internal`, naming the missing package or the supported platforms */
export function loadLibraries(device: Device = 'cpu', host = thisHost): Libraries {
  const { folder, fallback } = findFolder(device, host)
  const files = readdirSync(folder)
  const load = (stem: string): LibraryHandle => {
    const file = libraryAmong(files, stem)
    if (file === undefined)
      throw badInstallation(`The llama.cpp package of this platform does not contain the library ${stem}.`)
    try {
      return koffi.load(path.join(folder, file))
    } catch (cause) {
      throw badInstallation(`The library ${file} of llama.cpp cannot be loaded.`, cause)
    }
  }
  // The stack of koffi's threads: its default of 128 KiB is less than a graph may use.
  koffi.config({ async_stack_size: 8 << 20, async_heap_size: 1 << 20, resident_async_pools: 2 })
  return { ggmlBase: load('ggml-base'), ggml: load('ggml'), llama: load('llama'), folder, fallback }
}

const badInstallation = (message: string, cause?: unknown): OrielError =>
  new OrielError('internal', message, { code: 'bad_installation', cause })

/** Linux and macOS: libggml-base.so, libllama.v0.5.0.so, libllama.cuda.v0.5.0.so; Windows: llama.v0.5.0.dll */
export const libraryAmong = (files: readonly string[], stem: string): string | undefined =>
  files.find((name) => new RegExp(`^(lib)?${stem}(\\.[a-z]+)?(\\.v[0-9.]+)?\\.(so|dylib|dll)$`).test(name))

/** Finds the folder of a device's libraries. @throws OrielError as `loadLibraries` does */
export function findFolder(device: Device, host: string, resolve = resolver): Pick<Libraries, 'folder' | 'fallback'> {
  const name = packages[host]?.[device]
  if (name === undefined) {
    const known = Object.keys(packages).filter((other) => packages[other]?.[device] !== undefined)
    const refused = device === 'cpu' ? `Oriel does not support ${host}.` : `${device} is not supported on ${host}.`
    throw new OrielError('internal', `${refused} Supported platforms: ${known.join(', ')}.`)
  }
  const folder = binariesOf(name, resolve)
  if (folder !== undefined) {
    const extension = binariesOf(`${name}-ext`, resolve, name)
    return { folder, fallback: extension === undefined ? null : path.join(extension, 'fallback') }
  }
  throw new OrielError(
    'internal',
    device === 'cpu'
      ? `The package ${scope}${name} is not installed. Run npm install without --omit=optional.`
      : `The package for ${device} is not installed. To install it: ${installCommand(device, host)}`,
  )
}

type Resolve = (name: string) => string

const resolver: Resolve = createRequire(import.meta.url).resolve

/** @returns undefined if the package is not installed */
function binariesOf(name: string | undefined, resolve: Resolve, folder = name): string | undefined {
  if (name === undefined || folder === undefined) return undefined
  try {
    return path.join(path.dirname(resolve(`${scope}${name}`)), '..', 'bins', folder)
  } catch {
    return undefined
  }
}
