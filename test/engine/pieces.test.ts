import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { startProcess } from '../../src/children/index.ts'
import { separatePayloads } from '../../src/engine/pending.ts'
import { PayloadWriter, payloadFd } from '../../src/engine/pieces.ts'
import { free } from '../../src/free.ts'
import { pixels } from '../support/pixels.ts'

/** Tells of each payload that is whole. */
const program = `
import { createHash } from 'node:crypto'
import { readPayloads } from '${new URL('../../src/engine/pieces.ts', import.meta.url).href}'
readPayloads(({ id, bytes }) => process.send([id, bytes.length, createHash('sha256').update(bytes).digest('hex')]))
process.on('message', (pid) => process.kill(pid, 'SIGKILL'))
process.on('disconnect', () => process.exit())
`
let folder = ''
let child: ChildProcess
let writer: PayloadWriter
const told: unknown[] = []

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'oriel-pieces-'))
  writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}')
  const entry = path.join(folder, 'reader.ts')
  writeFileSync(entry, program)
  child = startProcess(pathToFileURL(entry), { stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'] })
  child.on('message', (message) => told.push(message))
  writer = new PayloadWriter(child)
})
afterAll(() => {
  child.kill('SIGKILL')
  rmSync(folder, { recursive: true })
})

const bytesOf = (length: number) => Uint8Array.from({ length }, (_, at) => (at * length) % 251)
const telling = (id: number, ...parts: Uint8Array[]) => {
  const whole = Buffer.concat(parts)
  return [id, whole.length, createHash('sha256').update(whole).digest('hex')]
}
const written = (): number => (child.stdio[payloadFd] as Socket).bytesWritten

it('sends the bytes of an attachment in small parts, and lets other work have its turn between two', async () => {
  const seen = [written()]
  let over = false
  const other = (): void => {
    if (written() > (seen.at(-1) ?? 0)) seen.push(written())
    if (!over) setImmediate(other)
  }
  setImmediate(other)
  expect(await writer.send({ id: 1, hash: 'a', parts: [bytesOf(1_000_000)] })).toBe(true)
  over = true
  const steps = seen.slice(1).map((bytes, index) => bytes - (seen[index] ?? 0))
  expect(steps.length).toBeGreaterThan(2)
  expect(Math.max(...steps)).toBeLessThan(300_000)
  await expect.poll(() => told).toContainEqual(telling(1, bytesOf(1_000_000)))
})

it('sends several attachments, each of them whole', async () => {
  const payloads = [2, 3, 4].map((id) => ({ id, hash: 'a', parts: [bytesOf(id * 200_000), bytesOf(7)] }))
  await Promise.all(payloads.map((payload) => writer.send(payload)))
  for (const { id, parts } of payloads) await expect.poll(() => told).toContainEqual(telling(id, ...parts))
})

it.each([0, 1])('says that an attachment was freed on the way, and forgets it (part %s)', async (freed) => {
  const parts = [bytesOf(600_000), bytesOf(600_000)]
  const sending = writer.send({ id: 5, hash: 'a', parts })
  const next = writer.send({ id: 6 + freed, hash: 'a', parts: [bytesOf(300_000)] })
  const before = written()
  while (written() === before) await new Promise((resolve) => setImmediate(resolve))
  free(parts[freed] as Uint8Array)
  expect(await sending).toBe(false)
  expect(await next).toBe(true)
  await expect.poll(() => told).toContainEqual(telling(6 + freed, bytesOf(300_000)))
  expect(told.filter((one) => (one as unknown[])[0] === 5)).toEqual([])
})

it('says that an attachment was freed before', async () => {
  const before = written()
  expect(await writer.send({ id: 8, hash: 'a', parts: [bytesOf(3), new Uint8Array()] })).toBe(false)
  expect(written()).toBe(before)
})

it('sends two frames that the encoder joins from where they lie, and the engine has one after the other', async () => {
  const [first, second] = [bytesOf(400_000), bytesOf(300_001)]
  const letGo = vi.fn()
  const { payloads } = separatePayloads([
    {
      ...{ kind: 'image', width: 1, height: 1, hash: 'a', detail: 'low', frames: 2 },
      pixels: pixels(first, letGo),
      nextPixels: pixels(second, letGo),
    },
  ])
  const [pair] = payloads.get('a') ?? []
  const { parts = null } = pair ?? {}
  // Nothing was copied.
  expect(parts?.map(({ buffer }) => buffer)).toEqual([first.buffer, second.buffer])
  await writer.send({ id: 9, hash: 'a', parts: parts ?? [] })
  await expect.poll(() => told).toContainEqual(telling(9, first, second))
  pair?.letGo()
  expect(letGo).toHaveBeenCalledTimes(2)
})

it('sends no pair until both frames are decoded', async () => {
  const open = { rgb: null, decode: async () => new Uint8Array(), letGo: () => {} }
  const image = { kind: 'image', width: 1, height: 1, hash: 'a', detail: 'low', frames: 2 } as const
  const { prompt, payloads } = separatePayloads([{ ...image, pixels: pixels(bytesOf(3)), nextPixels: open }])
  expect(payloads.get('a')?.[0]?.parts).toBeNull()
  // The engine's process has what is known without them.
  expect(prompt).toEqual([image])
})

it('does not wait for a process that has ended', async () => {
  const gone = once(child, 'exit')
  child.send(child.pid ?? 0)
  await gone
  expect(await writer.send({ id: 10, hash: 'a', parts: [bytesOf(2_000_000)] })).toBe(true)
})
