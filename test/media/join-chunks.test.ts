import { expect, it } from 'vitest'
import { ArrivedChunks, joinChunks } from '../../src/media/fetch/join-chunks.ts'

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

it('a file that comes byte by byte is kept in few chunks', () => {
  const file = Buffer.from(Array.from({ length: 100_000 }, (_, at) => at % 251))
  const arrived = new ArrivedChunks()
  for (let at = 0; at < 50_000; at++) arrived.add(file.subarray(at, at + 1))
  arrived.add(file.subarray(50_000, 90_000))
  arrived.add(file.subarray(90_000))
  expect(arrived.chunks.length).toBeLessThan(10)
  expect(arrived.length).toBe(file.length)
  expect(Buffer.concat(arrived.chunks).equals(file)).toBe(true)
})
