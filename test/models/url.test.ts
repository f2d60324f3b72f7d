import { type FileHandle, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { libraryWith } from '../support/library.ts'
import { pocketFolder } from '../support/pocket.ts'

const first = await readFile(`${pocketFolder}pocket.gguf`)
/** A file of the same length with other weights. */
const second = Buffer.from(first)
second.fill(0, 1_000_000)

/** The file and the behaviour of the server. */
interface Host {
  file: Buffer
  validators: 'etag' | 'date' | 'none'
  knows: 'ranges' | 'ranges, but not If-Range' | 'no ranges'
  /** Delay before each 64 KB, in ms. */
  pace: number
  /** Replaces the file after this many bytes, and closes the connection that is sending then. */
  next: { after: number; file: Buffer } | null
  sent: number
  /** The file at other URLs. It has an ETag that the first file has, too. */
  others: Record<string, Buffer>
}
const fresh: Host = { file: first, validators: 'etag', knows: 'ranges', pace: 0, next: null, sent: 0, others: {} }
let host: Host
const validatorsOf = ({ file, validators }: Host): Record<string, string> => {
  const version = file === first ? 1 : 2
  if (validators === 'etag') return { etag: `"${version}"` }
  return validators === 'date' ? { 'last-modified': new Date(Date.UTC(2025, version)).toUTCString() } : {}
}

const server = createServer(async (request, response) => {
  const other = host.others[request.url ?? '']
  const file = other ?? host.file
  const validators = other === undefined ? validatorsOf(host) : { etag: '"1"' }
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
  const wanted = request.headers['if-range']
  const isOther = host.knows === 'ranges' && wanted !== undefined && !Object.values(validators).includes(`${wanted}`)
  const partial = from !== undefined && host.knows !== 'no ranges' && !isOther
  const [begin, end] = partial ? [Number(from), Number(to) + 1] : [0, file.length]
  response.writeHead(partial ? 206 : 200, {
    'content-length': end - begin,
    ...validators,
    ...(partial ? { 'content-range': `bytes ${begin}-${end - 1}/${file.length}` } : {}),
  })
  for (let at = begin; at < end && !response.destroyed; at += 65_536) {
    if (host.pace > 0) await sleep(host.pace)
    const piece = file.subarray(at, Math.min(end, at + 65_536))
    host.sent += piece.length
    if (host.next !== null && host.sent > host.next.after) {
      host.file = host.next.file
      host.next = null
      response.destroy()
      return
    }
    await new Promise((resolve) => response.write(piece, resolve))
  }
  response.end()
})

let models: string
let origin: string
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})
beforeEach(async () => {
  host = { ...fresh }
  models = await mkdtemp(path.join(tmpdir(), 'oriel-url-'))
  return () => rm(models, { recursive: true })
})

const library = () => libraryWith({ ORIEL_MODELS_DIR: path.join(models, 'own') })
const pulling = (name: string, signal = new AbortController().signal, onBytes: (done: number) => void = () => {}) =>
  library().pull(name, {
    anyway: false,
    signal,
    onEvent: (event) => event.type === 'bytes' && onBytes(event.done),
  })
/** Of a pull of a model. */
const decoderOf = (pulled: Awaited<ReturnType<typeof pulling>>): string => {
  if (!('decoder' in pulled)) throw new Error('an adapter was pulled')
  return pulled.decoder
}
const fetched = async (name = '/a/model.gguf') => {
  const decoder = decoderOf(await pulling(origin + name))
  const file = await readFile(decoder)
  return file.equals(first) ? 'first' : file.equals(second) ? 'second' : 'neither'
}
/** Interrupts a pull of the first file. */
async function interrupted(name = '/a/model.gguf') {
  host.pace = 5
  const stop = new AbortController()
  const pull = pulling(origin + name, stop.signal, (done) => done > 2_000_000 && stop.abort())
  await expect(pull).rejects.toMatchObject({ kind: 'cancelled' })
  Object.assign(host, { pace: 0, sent: 0 })
}

describe('a model file from a URL', () => {
  it.each(['etag', 'date'] as const)('is resumed if its %s is the same', async (validators) => {
    host.validators = validators
    await interrupted()
    expect(await fetched()).toBe('first')
    expect(host.sent).toBeLessThan(first.length - 1_000_000)
  })

  it.each(['etag', 'date', 'none'] as const)('is downloaded again if it has changed (%s)', async (validators) => {
    host.validators = validators
    await interrupted()
    host.file = second
    expect(await fetched()).toBe('second')
    host.file = first
    expect(await fetched()).toBe('first')
  })

  it('is downloaded again from another URL', async () => {
    host.others = { '/b/model.gguf': second }
    await interrupted()
    expect(await fetched('/b/model.gguf')).toBe('second')
    expect(await fetched()).toBe('first')
  })

  it.each([
    ['etag', 'ranges'],
    ['date', 'ranges'],
    ['etag', 'ranges, but not If-Range'],
    ['none', 'ranges'],
    ['etag', 'no ranges'],
  ] as const)('is of one version if it changes during the download (%s, %s)', async (validators, knows) => {
    Object.assign(host, { validators, knows, pace: 1, next: { after: 1_500_000, file: second } })
    expect(await fetched()).toBe('second')
  })

  it('is not downloaded twice, unless it has changed or was replaced', async () => {
    expect(await fetched()).toBe('first')
    host.sent = 0
    expect(await fetched()).toBe('first')
    // One byte, for the length and the version.
    expect(host.sent).toBe(1)
    const local = path.join(models, 'model.gguf')
    await writeFile(local, second)
    await pulling(local)
    expect(await fetched()).toBe('first')
  })

  it('is complete if writes to the disk are partial', async () => {
    const probe = await open(path.join(models, 'probe'), 'w')
    const handle = Object.getPrototypeOf(probe) as FileHandle
    const write = handle.write as (...of: unknown[]) => Promise<unknown>
    let times = 0
    const short = vi.spyOn(handle, 'write').mockImplementation(function (this: FileHandle, ...of: unknown[]) {
      const [bytes, from, length, at] = of
      return write.call(this, bytes, from, times++ === 3 ? 1000 : length, at) as never
    })
    host.validators = 'none'
    expect(await fetched()).toBe('first')
    expect(times).toBeGreaterThan(4)
    short.mockRestore()
    await probe.close()
  })

  it('does not change a file that an engine may be reading when it is replaced', async () => {
    const local = path.join(models, 'model.gguf')
    await writeFile(local, first)
    const reading = await open(decoderOf(await pulling(local)))
    await writeFile(local, second)
    await pulling(local)
    expect((await reading.readFile()).equals(first)).toBe(true)
    await reading.close()
    expect(await readdir(path.join(models, 'own', 'model'))).toEqual(['model.gguf'])
  })

  it('reports a folder that cannot be used', async () => {
    await writeFile(path.join(models, 'own'), '')
    const local = path.join(models, 'model.gguf')
    await writeFile(local, first)
    await expect(pulling(local)).rejects.toMatchObject({
      code: 'unusable_folder',
      message: expect.stringMatching(/ cannot be used: ENOTDIR\.$/),
    })
  })

  it('is removed completely', async () => {
    await fetched()
    await (await library().removal('model')).remove()
    expect(await readdir(path.join(models, 'own'))).toEqual([])
  })

  it.each(['...gguf', '..gguf', '%2e%2e.gguf', '-00001-of-00002.gguf', 'a%2f..%2fb.gguf', 'a%5cb.gguf', 'a%00.gguf'])(
    'is refused if its name is not a plain file name: %s',
    async (name) => {
      await expect(pulling(`${origin}/x/${name}`)).rejects.toMatchObject({
        kind: 'invalid',
        message: expect.stringContaining('is not a valid name for a model file'),
      })
      expect(host.sent).toBe(0)
      expect(await readdir(models)).toEqual([])
    },
  )
})
