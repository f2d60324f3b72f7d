import type { LibraryHandle } from 'koffi'
import { describe, expect, it } from 'vitest'
import { checkAbi } from '../../src/native/abi.ts'
import { loadLibraries } from '../../src/native/libraries.ts'

/** The real library, except that one function returns a struct with another value in a field. */
function shifted(real: LibraryHandle, name: string, field: string, value: unknown): LibraryHandle {
  const func = (...args: Parameters<LibraryHandle['func']>) => {
    const call = real.func(...args)
    return args[0] === name ? (...given: unknown[]) => ({ ...call(...given), [field]: value }) : call
  }
  return { func } as unknown as LibraryHandle
}

describe('the libraries', () => {
  const libraries = loadLibraries()

  it('match the structs of this code', () => {
    expect(() => checkAbi(libraries)).not.toThrow()
  })

  it.each([
    ['llama_model_default_params', 'n_gpu_layers', 99],
    ['llama_context_default_params', 'n_batch', 0],
    ['llama_context_default_params', 'kv_unified', true],
    ['llama_sampler_chain_default_params', 'no_perf', false],
    ['ggml_threadpool_params_default', 'poll', 0],
    ['llama_batch_get_one', 'n_tokens', 0],
  ])('are refused if %s returns another %s', (name, field, value) => {
    const { llama, ggmlBase } = libraries
    const check = () =>
      checkAbi({ llama: shifted(llama, name, field, value), ggmlBase: shifted(ggmlBase, name, field, value) })
    expect(check).toThrow(new RegExp(`${field} reads ${value} where release .* has .*package-lock.json`))
  })

  it('are refused on an unknown platform, naming the supported ones', () => {
    expect(() => loadLibraries('cpu', 'sunos-sparc')).toThrow(
      /^Oriel does not support sunos-sparc\. Supported platforms: linux-x64, linux-arm64, .*win32-arm64\.$/,
    )
  })

  it('are refused without their optional package, with the command that installs it', () => {
    const other = process.platform === 'win32' ? 'darwin-x64' : 'win32-arm64'
    expect(() => loadLibraries('cpu', other)).toThrow(
      /^The package @node-llama-cpp\/\S+ is not installed\. Run npm install .*\.$/,
    )
  })
})
