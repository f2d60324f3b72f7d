import { expect, it } from 'vitest'
import { openNative } from '../../src/native/index.ts'

it('refuses to convert a tensor of integers to floats', () => {
  const { ggml } = openNative()
  const context = ggml.init(1)
  const wholeNumbers = 26
  const tensor = ggml.newTensor4d(context, wholeNumbers, 4, 1, 1, 1)
  expect(() => ggml.convert(tensor, new Uint8Array(16), 4)).toThrow(/type 26/)
  ggml.free(context)
})
