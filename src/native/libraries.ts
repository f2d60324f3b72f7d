import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { arch, platform } from 'node:os'
import path from 'node:path'
import koffi, { type LibraryHandle } from 'koffi'
import { OrielError } from '../errors.ts'

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
}

/** `node -p "process.platform + '-' + process.arch"` -> the last part of the package's name. */
const packages: Record<string, string> = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'darwin-arm64': 'mac-arm64-metal',
  'darwin-x64': 'mac-x64',
  'win32-x64': 'win-x64',
  'win32-arm64': 'win-arm64',
}

/**
 * @param host `<platform>-<architecture>` as Node names them
 * @throws OrielError `internal` with one sentence that says which package is missing, and for which platforms there is one
 */
export function loadLibraries(host = `${platform()}-${arch()}`): Libraries {
  const folder = findFolder(host)
  const files = readdirSync(folder)
  const load = (stem: string): LibraryHandle => {
    // Linux and macOS: libggml.v0.5.0.so; Windows: ggml.v0.5.0.dll
    const file = files.find((name) => new RegExp(`^(lib)?${stem}(\\.v[0-9.]+)?\\.(so|dylib|dll)$`).test(name))
    if (file === undefined)
      throw new OrielError('internal', `The llama.cpp package of this platform holds no ${stem} library.`)
    return koffi.load(path.join(folder, file))
  }
  // Calls on koffi's threads get a stack of this size; its default of 128 KiB is less than a graph's threads may use.
  koffi.config({ async_stack_size: 8 << 20, async_heap_size: 1 << 20, resident_async_pools: 2 })
  return { ggmlBase: load('ggml-base'), ggml: load('ggml'), llama: load('llama'), folder }
}

function findFolder(host: string): string {
  const name = packages[host]
  if (name === undefined) {
    const known = Object.keys(packages).join(', ')
    throw new OrielError('internal', `Oriel's engine has no library for ${host}; there is one for ${known}.`)
  }
  try {
    const manifest = createRequire(import.meta.url).resolve(`@node-llama-cpp/${name}`)
    return path.join(path.dirname(manifest), '..', 'bins', name)
  } catch {
    throw new OrielError(
      'internal',
      `The package @node-llama-cpp/${name} is not installed: run npm install without --omit=optional.`,
    )
  }
}
