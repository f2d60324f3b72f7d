import { describe, expect, it } from 'vitest'
import { configOf } from '../../src/load-config.ts'
import { estimatesFor } from '../../src/machine/index.ts'
import { catalogue, entryOf } from '../../src/models/index.ts'
import { memoryOf, sizedModels } from '../docs/model-memory.ts'
import { libraryWith } from '../support/library.ts'

const { engine } = configOf({})
const estimates = (memory: number, changed: Partial<typeof engine> = {}) =>
  estimatesFor(libraryWith(), { engine: { ...engine, ...changed }, memory, gpu: false })
const known = (id: string) => {
  const entry = entryOf(id)
  if (entry === undefined) throw new Error(`the catalogue has no ${id}`)
  return entry
}

describe('what a model of the catalogue takes, before its files are here', () => {
  it.each(sizedModels)('is what %s takes when they are', (id) => {
    const { fits, bytes } = estimates(256e9).fits(known(id))
    expect(fits).toBe(true)
    expect(Math.abs(bytes / 1e9 / memoryOf(id) - 1)).toBeLessThan(0.05)
  })

  it('follows the precision of the encoder, its runtime and the size of the context', () => {
    const bytesWith = (changed: Partial<typeof engine>) =>
      estimates(256e9, { visionPrecision: 'fp32', visionRuntime: 'onnx', ...changed }).fits(known('qwen3-vl-2b')).bytes
    const exact = bytesWith({})
    // Only its layers are rounded.
    expect(exact - bytesWith({ visionPrecision: 'int8' })).toBe(0.302e9 * 3)
    expect(exact - bytesWith({ visionPrecision: 'auto' })).toBe(0.302e9 * 2.5)
    expect(exact - bytesWith({ visionRuntime: 'ggml' })).toBe(0.407e9 * 2)
    expect(bytesWith({ contextTokens: 32_768 })).toBeGreaterThan(exact)
  })

  it('decides whether it fits: never kinder than the plan', () => {
    const entry = known('qwen3-vl-2b')
    expect(estimates(3e9, { visionPrecision: 'fp32' }).fits(entry).fits).toBe(false)
    expect(estimates(8e9).fits(entry).fits).toBe(true)
    expect(estimates(3e9, { visionPrecision: 'fp32' }).memoryOf(entry)).toContain('never fits')
  })

  it('is known of every model: more than its files take, less than twice that with a usual context', () => {
    for (const entry of catalogue) {
      const { bytes } = estimates(512e9, { visionPrecision: 'fp32' }).fits(entry)
      const files = estimates(1).fits(entry).bytes
      expect(bytes, entry.id).toBeGreaterThan(files)
      expect(entry.visionParameters, entry.id).toBeLessThan(entry.parameters / 2)
    }
  })
})
