import fc from 'fast-check'
import { expect, it } from 'vitest'
import { packTokens, unpackTokens } from '../../src/engine/packed-tokens.ts'
import { finished } from '../../src/slices.ts'

const bytesOf = (id: number): Uint8Array => Buffer.from('x'.repeat(id % 5) + id)

it('tokens are the same behind a border between processes, and equal ones are one object', async () => {
  const cells = fc.array(fc.integer({ min: -3, max: 200 }))
  await fc.assert(
    fc.asyncProperty(cells, async (cells) => {
      const tokens = await unpackTokens(finished(packTokens(cells, bytesOf)))
      expect(tokens.map((token) => token && [token.id, `${Buffer.from(token.bytes)}`])).toEqual(
        cells.map((id) => (id < 0 ? null : [id, `${bytesOf(id)}`])),
      )
      expect(new Set(tokens).size).toBe(new Set(cells.map((id) => Math.max(-1, id))).size)
    }),
  )
})

it('many tokens are packed in slices', () => {
  const packing = packTokens(new Int32Array(100_000), bytesOf)
  let slices = 1
  while (!packing.next().done) slices++
  expect(slices).toBeGreaterThan(20)
})
