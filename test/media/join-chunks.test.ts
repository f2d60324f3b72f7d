import { expect, it } from 'vitest'
import { joinChunks } from '../../src/media/fetch/join-chunks.ts'

it('a large file is put together with turns for others in between', async () => {
  const chunks = Array.from({ length: 320 }, (_, index) => new Uint8Array(64_000).fill(index))
  let turns = 0
  let count = setImmediate(function next() {
    turns++
    count = setImmediate(next)
  })
  const file = await joinChunks(chunks, 320 * 64_000)
  clearImmediate(count)
  expect(file.equals(Buffer.concat(chunks))).toBe(true)
  expect(turns).toBeGreaterThan(10)
})
