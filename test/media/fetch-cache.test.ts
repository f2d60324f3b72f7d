import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { MediaConfig } from '../../src/config.ts'
import { deferred } from '../../src/deferred.ts'
import { loadConfig } from '../../src/load-config.ts'
import { DiskCache } from '../../src/media/fetch/disk-cache.ts'
import { createFetcher } from '../../src/media/fetch/fetch.ts'
import { shape } from '../support/images.ts'

// For a disk that is slow.
vi.mock('node:fs/promises', async (original) => {
  const actual = await original<typeof import('node:fs/promises')>()
  return { ...actual, readdir: vi.fn(actual.readdir), writeFile: vi.fn(actual.writeFile) }
})

/** A list is a header in several lines. */
type Headers = Record<string, string | string[]>

let image: Buffer
let origin: string
/** Requests that the host received, in order. */
let received: IncomingMessage[] = []
/** How the host responds: with the image, or with a status other than 200, once `after` has resolved. */
let respond: (request: IncomingMessage) => { status?: number; headers?: Headers; after?: Promise<void> } = () => ({})
const host = createServer(async (request, response) => {
  received.push(request)
  const { status = 200, headers = {}, after } = respond(request)
  await after
  response.writeHead(status, headers).end(status === 200 ? image : undefined)
})
/** A fetcher without decoders. */
const open = (settings: Partial<MediaConfig> = {}) => {
  const config = { ...loadConfig({}, {}).media, allowPrivate: ['127.0.0.1'], urlTimeoutMs: 5000, ...settings }
  const fetcher = createFetcher(config)
  return {
    fetch: (url: string, signal = new AbortController().signal) => fetcher.fetch(url, 'image', signal),
    clear: () => fetcher.clear(),
  }
}

beforeAll(async () => {
  image = await shape('red', 'circle', 64)
  await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(host.address() as AddressInfo).port}`
})
afterAll(() => host.close())
afterEach(() => {
  received = []
})

describe('fetched files are cached as HTTP allows', () => {
  const policies: [what: string, headers: Headers, requests: number, from: string][] = [
    ['with max-age', { 'cache-control': 'public, max-age=60' }, 1, 'cache'],
    ['with s-maxage, which takes precedence over max-age', { 'cache-control': 'max-age=0, s-maxage=60' }, 1, 'cache'],
    ['with expires', { expires: new Date(Date.now() + 60_000).toUTCString() }, 1, 'cache'],
    ['with max-age in one of several lines', { 'cache-control': ['public', 'max-age=60'] }, 1, 'cache'],
    ['not with no-store in one of several lines', { 'cache-control': ['max-age=60', 'no-store'] }, 2, 'network'],
    [
      'not with vary: * in one of several lines',
      { 'cache-control': 'max-age=60', vary: ['accept', '*'] },
      2,
      'network',
    ],
    ['not when age has reached max-age', { 'cache-control': 'max-age=60', age: '60' }, 2, 'network'],
    ['not with no-store', { 'cache-control': 'no-store, max-age=60', etag: '"a"' }, 2, 'network'],
    ['not with private', { 'cache-control': 'private, max-age=60', etag: '"a"' }, 2, 'network'],
    ['not with vary: *', { 'cache-control': 'max-age=60', vary: '*' }, 2, 'network'],
    ['not without a header that allows it', {}, 2, 'network'],
  ]
  it.for(policies)('%s', async ([, headers, requests, from]) => {
    const fetcher = open()
    respond = () => ({ headers })
    expect((await fetcher.fetch(`${origin}/a`)).from).toBe('network')
    expect((await fetcher.fetch(`${origin}/a#elsewhere`)).from).toBe(from)
    expect(received).toHaveLength(requests)
  })

  const validators: [Headers, sends: string, value: string][] = [
    [{ etag: '"v1"' }, 'if-none-match', '"v1"'],
    [{ 'last-modified': 'Wed, 01 Jan 2025 00:00:00 GMT' }, 'if-modified-since', 'Wed, 01 Jan 2025 00:00:00 GMT'],
    [{ etag: 'W/"v1"', 'cache-control': 'no-cache, max-age=60' }, 'if-none-match', 'W/"v1"'],
  ]
  it.for(validators)('revalidates a stale file: %s', async ([headers, sends, value]) => {
    const fetcher = open()
    respond = (request) => (request.headers[sends] === value ? { status: 304 } : { headers })
    const first = await fetcher.fetch(`${origin}/a`)
    const second = await fetcher.fetch(`${origin}/a`)
    const third = await fetcher.fetch(`${origin}/a`)
    expect([first.from, second.from, third.from]).toEqual(['network', 'cache', 'cache'])
    expect(second.bytes).toEqual(first.bytes)
    expect(received.map((request) => request.headers[sends])).toEqual([undefined, value, value])
    // A changed file replaces the cached one.
    respond = () => ({ headers: { 'cache-control': 'max-age=60' } })
    expect((await fetcher.fetch(`${origin}/a`)).from).toBe('network')
    expect((await fetcher.fetch(`${origin}/a`)).from).toBe('cache')
  })

  it('a 304 response makes a stale file fresh again', async () => {
    const fetcher = open()
    respond = ({ headers }) =>
      headers['if-none-match']
        ? { status: 304, headers: { 'cache-control': 'max-age=60' } }
        : { headers: { etag: '"a"' } }
    for (let i = 0; i < 4; i++) await fetcher.fetch(`${origin}/a`)
    expect(received).toHaveLength(2)
  })

  it('an error of the host during revalidation is reported', async () => {
    const fetcher = open()
    respond = () => ({ headers: { etag: '"a"' } })
    await fetcher.fetch(`${origin}/a`)
    respond = () => ({ status: 500 })
    await expect(fetcher.fetch(`${origin}/a`)).rejects.toThrow(/status 500/)
  })

  it('the target of a redirect is cached, the redirect is not', async () => {
    const fetcher = open()
    respond = ({ url }) =>
      url === '/moved' ? { status: 302, headers: { location: '/a' } } : { headers: { 'cache-control': 'max-age=60' } }
    await fetcher.fetch(`${origin}/moved`)
    expect((await fetcher.fetch(`${origin}/moved`)).from).toBe('cache')
    expect(received.map(({ url }) => url)).toEqual(['/moved', '/a', '/moved'])
  })

  it('requests for one URL share a download, which goes on when one of them is cancelled', async () => {
    const fetcher = open()
    const answer = deferred<void>()
    respond = () => ({ after: answer.promise })
    const arrived = once(host, 'request')
    const stop = new AbortController()
    const cancelled = fetcher.fetch(`${origin}/a`, stop.signal)
    const others = Array.from({ length: 5 }, () => fetcher.fetch(`${origin}/a`))
    await arrived
    stop.abort()
    await expect(cancelled).rejects.toMatchObject({ kind: 'cancelled' })
    answer.resolve()
    for (const { bytes } of await Promise.all(others)) expect(bytes).toEqual(image)
    expect(received).toHaveLength(1)
  })

  it('a download stops when all its requests are cancelled', async () => {
    const fetcher = open({ urlTimeoutMs: 600_000 })
    respond = () => ({ after: new Promise(() => {}) })
    const arrived = once(host, 'request')
    const stop = new AbortController()
    const load = fetcher.fetch(`${origin}/a`, stop.signal)
    const [{ socket }] = (await arrived) as [IncomingMessage]
    const closed = once(socket, 'close')
    stop.abort()
    await expect(load).rejects.toMatchObject({ kind: 'cancelled' })
    await closed
  })

  it('the least recently used files are evicted first', async () => {
    const fetcher = open({ cacheBytes: image.length * 2 })
    respond = () => ({ headers: { 'cache-control': 'max-age=60' } })
    for (const name of ['a', 'b', 'a', 'c', 'a', 'b']) await fetcher.fetch(`${origin}/${name}`)
    expect(received.map(({ url }) => url)).toEqual(['/a', '/b', '/c', '/b'])
  })

  it('a file larger than the cache is not cached', async () => {
    const fetcher = open({ cacheBytes: image.length - 1 })
    respond = () => ({ headers: { 'cache-control': 'max-age=60' } })
    await fetcher.fetch(`${origin}/a`)
    expect((await fetcher.fetch(`${origin}/a`)).from).toBe('network')
  })

  it('a limit of 0 disables the cache', async () => {
    const fetcher = open({ cacheBytes: 0 })
    respond = () => ({ headers: { 'cache-control': 'max-age=60' } })
    await fetcher.fetch(`${origin}/a`)
    expect((await fetcher.fetch(`${origin}/a`)).from).toBe('network')
  })

  it('clearing the cache removes all files', async () => {
    const fetcher = open()
    respond = () => ({ headers: { 'cache-control': 'max-age=60' } })
    await fetcher.fetch(`${origin}/a`)
    await fetcher.clear()
    expect((await fetcher.fetch(`${origin}/a`)).from).toBe('network')
  })
})

describe('a cache folder', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'oriel-cache-'))
  })
  afterAll(() => rm(folder, { recursive: true }))
  const cachedNames = () => readdir(folder).then((names) => names.filter((name) => name.endsWith('.oriel')))

  it('keeps files across restarts, readable by the owner only', async () => {
    respond = () => ({ headers: { 'cache-control': 'max-age=60' } })
    await open().fetch(`${origin}/a`)
    expect((await open().fetch(`${origin}/a`)).from).toBe('network')

    await open({ cacheDir: folder }).fetch(`${origin}/a`)
    await expect.poll(cachedNames).toHaveLength(1)
    expect((await open({ cacheDir: folder }).fetch(`${origin}/a`)).from).toBe('cache')
    const [name = ''] = await cachedNames()
    expect((await stat(join(folder, name))).mode & 0o077).toBe(0)
  })

  it('fetches damaged files again, and leaves files of others alone', async () => {
    respond = () => ({ headers: { 'cache-control': 'max-age=60' } })
    await open({ cacheDir: folder }).fetch(`${origin}/b`)
    await writeFile(join(folder, 'letter.txt'), 'Dear')
    await expect.poll(cachedNames).toHaveLength(2)
    for (const name of await cachedNames()) await writeFile(join(folder, name), '{"url":"')
    const fetcher = open({ cacheDir: folder })
    expect((await fetcher.fetch(`${origin}/b`)).from).toBe('network')
    await fetcher.clear()
    expect(await readdir(folder)).toEqual(['letter.txt'])
  })

  it('removes unfinished writes of an earlier server, and of a write that fails', async () => {
    respond = () => ({ headers: { 'cache-control': 'max-age=60' } })
    const name = `${'0'.repeat(64)}.oriel`
    await writeFile(join(folder, `${name}.part`), 'half')
    await open({ cacheDir: folder }).clear()
    expect(await readdir(folder)).toEqual(['letter.txt'])

    // A folder of the same name makes the rename fail.
    const fetcher = open({ cacheDir: folder })
    const url = `${origin}/c`
    await mkdir(join(folder, `${createHash('sha256').update(url).digest('hex')}.oriel`, 'in-the-way'), {
      recursive: true,
    })
    await fetcher.fetch(url)
    await fetcher.clear()
    expect((await readdir(folder)).filter((name) => name.endsWith('.part'))).toEqual([])
    await rm(join(folder, `${createHash('sha256').update(url).digest('hex')}.oriel`), { recursive: true })
  })

  it('has a limit of its own', async () => {
    respond = () => ({ headers: { 'cache-control': 'max-age=60' } })
    const fetcher = open({ cacheDir: folder, cacheDirBytes: Math.floor(2.5 * (image.length + 130)), cacheBytes: 0 })
    for (const name of ['1', '2', '3', '4']) await fetcher.fetch(`${origin}/${name}`)
    await expect.poll(cachedNames).toHaveLength(2)
    received = []
    await fetcher.fetch(`${origin}/4`)
    await fetcher.fetch(`${origin}/1`)
    expect(received.map(({ url }) => url)).toEqual(['/1'])
    // Nothing that it still writes comes between the files of the next test.
    await fetcher.clear()
  })

  it('evicts the oldest files of an earlier server when its limit was lowered', async () => {
    respond = () => ({ headers: { 'cache-control': 'max-age=60' } })
    const large = open({ cacheDir: folder, cacheBytes: 0 })
    await large.clear()
    for (const name of ['1', '2', '3']) {
      await large.fetch(`${origin}/${name}`)
      await expect.poll(cachedNames).toHaveLength(Number(name))
    }
    const newest = createHash('sha256').update(`${origin}/3`).digest('hex')
    await utimes(join(folder, `${newest}.oriel`), new Date(Date.now() + 60_000), new Date(Date.now() + 60_000))
    open({ cacheDir: folder, cacheDirBytes: Math.floor(1.5 * (image.length + 130)), cacheBytes: 0 })
    await expect.poll(cachedNames).toEqual([`${newest}.oriel`])
  })

  it('stores nothing with a limit of 0, or in a file larger than the limit', async () => {
    respond = () => ({ headers: { 'cache-control': 'max-age=60' } })
    await open({ cacheDir: folder }).clear()
    for (const cacheDirBytes of [0, image.length]) {
      const fetcher = open({ cacheDir: folder, cacheDirBytes, cacheBytes: 0 })
      await fetcher.fetch(`${origin}/a`)
      expect((await fetcher.fetch(`${origin}/a`)).from).toBe('network')
      expect(await cachedNames()).toEqual([])
    }
  })

  describe('on a slow disk', () => {
    const isOurs = (name: unknown): boolean => String(name).includes('.oriel')
    /** From now on every write waits. @returns lets them go on */
    const hold = (): (() => void) => {
      const held = deferred<void>()
      const write = vi.mocked(writeFile).getMockImplementation() ?? writeFile
      vi.mocked(writeFile).mockImplementation(async (...args) => {
        if (isOurs(args[0])) await held.promise
        return await write(...args)
      })
      return () => {
        vi.mocked(writeFile).mockImplementation(write)
        held.resolve()
      }
    }

    it('does not hold up files that it has not, that it has, or that it is about to have', async () => {
      respond = () => ({ headers: { 'cache-control': 'max-age=60' } })
      const fetcher = open({ cacheDir: folder, cacheBytes: 0 })
      await fetcher.clear()
      await fetcher.fetch(`${origin}/here`)
      await expect.poll(cachedNames).toHaveLength(1)
      const goOn = hold()
      for (const [name, from] of [
        ['written', 'network'],
        ['waits', 'network'],
        ['here', 'cache'],
        ['waits', 'cache'],
      ])
        expect((await fetcher.fetch(`${origin}/${name}`)).from).toBe(from)
      goOn()
      await expect.poll(cachedNames).toHaveLength(3)
    })

    it('does not hold up a request for longer than its time limit', async () => {
      const found = deferred<void>()
      vi.mocked(readdir).mockImplementationOnce(async () => {
        await found.promise
        return []
      })
      const fetcher = open({ cacheDir: folder, urlTimeoutMs: 200 })
      await expect(fetcher.fetch(`${origin}/a`)).rejects.toMatchObject({ code: 'image_url_timeout' })
      found.resolve()
    })

    it('is given no more than 100 MB to write, however much is fetched', async () => {
      const cache = new DiskCache(folder, 1e9, undefined)
      await cache.clear()
      const goOn = hold()
      const file = { bytes: Buffer.alloc(30_000_000), freshUntil: 0, etag: undefined, lastModified: undefined }
      const writes = ['1', '2', '3', '4', '5'].map((name) => cache.set(name, file))
      await Promise.all(writes.slice(3))
      goOn()
      await Promise.all(writes)
      expect(await cachedNames()).toHaveLength(3)
      await cache.set('6', file)
      expect(await cachedNames()).toHaveLength(4)
      await cache.clear()
    })
  })

  it('fails no request when it cannot be used', async () => {
    respond = () => ({ headers: { 'cache-control': 'max-age=60' } })
    const fetcher = open({ cacheDir: join(folder, 'letter.txt', 'below') })
    await fetcher.fetch(`${origin}/a`)
    expect((await fetcher.fetch(`${origin}/a`)).from).toBe('cache')
  })
})

it('uses the configured proxy, and ignores proxies of the environment', async () => {
  const through: string[] = []
  const proxy = createServer().on('connect', ({ url = '' }, socket) => {
    through.push(url)
    const [, port = ''] = url.split(':')
    const far = connect(url.startsWith('images.example:') ? Number(port) : 9, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      far.pipe(socket).pipe(far)
    })
    for (const end of [far, socket]) end.on('error', () => {})
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  const uri = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
  process.env.HTTP_PROXY = process.env.http_proxy = uri
  respond = () => ({})
  try {
    const { port } = new URL(origin)
    expect((await open().fetch(`${origin}/a`)).from).toBe('network')
    expect(through).toEqual([])
    expect((await open({ proxy: uri, allowPrivate: [] }).fetch(`http://images.example:${port}/a`)).from).toBe('network')
    expect(through).toEqual([`images.example:${port}`])
    // Literal addresses are checked all the same.
    await expect(open({ proxy: uri, allowPrivate: [] }).fetch(`${origin}/a`)).rejects.toThrow(/public internet/)
  } finally {
    delete process.env.HTTP_PROXY
    delete process.env.http_proxy
    proxy.closeAllConnections()
    proxy.close()
  }
})
