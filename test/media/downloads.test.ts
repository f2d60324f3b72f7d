import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { loadConfig } from '../../src/load-config.ts'
import { type AttachmentSource, createMedia } from '../../src/media/index.ts'
import { shape } from '../support/images.ts'

/** Half a second of silence. */
function wav(): Buffer {
  const file = Buffer.alloc(44 + 16_000)
  file.write('RIFF\0\0\0\0WAVEfmt ', 'latin1')
  file.writeUInt32LE(file.length - 8, 4)
  for (const [at, value] of [16, 0x10001, 16_000, 32_000, 0x100002].entries()) file.writeUInt32LE(value, 16 + 4 * at)
  file.write('data', 36)
  file.writeUInt32LE(16_000, 40)
  return file
}

let [running, most, answered] = [0, 0, 0]
let image: Buffer
const host = createServer(async (request, response) => {
  most = Math.max(most, ++running)
  await wait(100)
  running--
  answered++
  response.end(request.url?.startsWith('/sound') ? wav() : image)
})
let origin: string
beforeAll(async () => {
  image = await shape('red', 'circle', 64)
  await new Promise<void>((listening) => host.listen(0, '127.0.0.1', listening))
  origin = `http://127.0.0.1:${(host.address() as AddressInfo).port}`
})
beforeEach(() => {
  ;[running, most, answered] = [0, 0, 0]
})
// Of 64 images, as many bytes as of 6.4 recordings.
const settings = { maxUrlBytes: 50_000, maxRecordingUrlBytes: 500_000, urlTimeoutMs: 20_000, decoders: 1 }
const media = createMedia({ ...loadConfig({}, {}).media, allowPrivate: ['127.0.0.1'], ...settings })
afterAll(async () => {
  host.close()
  await media.close()
})
const sources = (count: number, kind: 'audio' | 'image'): AttachmentSource[] =>
  Array.from({ length: count }, (_, index) => ({
    ...{ kind, param: `part ${index}` },
    url: `${origin}/${kind === 'audio' ? 'sound' : 'image'}/${index}`,
  }))
const asker = { client: 'one', isolation: '' }

it('files that are fetched at a time are bounded by the bytes that they may have: one client has half', async () => {
  await media.load(sources(8, 'audio'), asker, { longestEdge: 64 }, new AbortController().signal)
  expect({ most, answered }).toEqual({ most: 3, answered: 8 })
  await media.load(sources(8, 'image'), asker, { longestEdge: 64 }, new AbortController().signal)
  expect(most).toBe(8)
})

it('files that are fetched early take their memory until they have been loaded', async () => {
  const [first, second] = [new AbortController().signal, new AbortController().signal]
  media.prefetch(sources(7, 'audio'), 'large', new AbortController().signal)
  expect(await started()).toBe(0)
  media.prefetch(sources(6, 'audio'), 'one', first)
  const loading = media.load(sources(6, 'audio'), asker, { longestEdge: 64 }, first)
  media.prefetch(sources(2, 'audio'), 'two', second)
  await loading
  expect(answered).toBe(6)
  media.prefetch(sources(2, 'audio'), 'two', second)
  await expect.poll(() => answered).toBe(8)
})

const started = async (): Promise<number> => {
  await wait(50)
  return running
}
