import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig, type MediaConfig } from '../../src/config.ts'
import { createFetcher } from '../../src/media/fetch/fetch.ts'
import { shape } from '../support/pictures.ts'

/** Lists are headers of several lines. */
type Headers = Record<string, string | string[]>

let picture: Buffer
let origin: string
/** What the host was asked, in order. */
let asked: IncomingMessage[] = []
/** What it tells with each picture; a status of its own, or the picture. */
let tells: (request: IncomingMessage) => { status?: number; headers?: Headers; after?: number } = () => ({})
const host = createServer((request, response) => {
  asked.push(request)
  const { status = 200, headers = {}, after = 0 } = tells(request)
  setTimeout(() => response.writeHead(status, headers).end(status === 200 ? picture : undefined), after)
})
/** The fetching half of the room: no decoder is needed here. */
const open = (settings: Partial<MediaConfig> = {}) => {
  const config = { ...loadConfig({}, {}).media, allowPrivate: ['127.0.0.1'], urlTimeoutMs: 5000, ...settings }
  const fetcher = createFetcher(config)
  return {
    fetch: (url: string, signal = new AbortController().signal) => fetcher.fetch(url, signal),
    clear: () => fetcher.clear(),
  }
}

beforeAll(async () => {
  picture = await shape('red', 'circle', 64)
  await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(host.address() as AddressInfo).port}`
})
afterAll(() => host.close())
afterEach(() => {
  asked = []
})

describe('files that were fetched are kept as their host allows', () => {
  const twice: [what: string, headers: Headers, asked: number, from: string][] = [
    ['for as long as it says', { 'cache-control': 'public, max-age=60' }, 1, 'cache'],
    ['for as long as it says to shared caches', { 'cache-control': 'max-age=0, s-maxage=60' }, 1, 'cache'],
    ['until it says', { expires: new Date(Date.now() + 60_000).toUTCString() }, 1, 'cache'],
    ['for as long as it says in several lines', { 'cache-control': ['public', 'max-age=60'] }, 1, 'cache'],
    ['never when one line of several says so', { 'cache-control': ['max-age=60', 'no-store'] }, 2, 'network'],
    [
      'never when one line of several is anything',
      { 'cache-control': 'max-age=60', vary: ['accept', '*'] },
      2,
      'network',
    ],
    ['no longer than what is left of its age', { 'cache-control': 'max-age=60', age: '60' }, 2, 'network'],
    ['never when it says so', { 'cache-control': 'no-store, max-age=60', etag: '"a"' }, 2, 'network'],
    ['never when they are private', { 'cache-control': 'private, max-age=60', etag: '"a"' }, 2, 'network'],
    ['never when they vary by anything', { 'cache-control': 'max-age=60', vary: '*' }, 2, 'network'],
    ['not at all when it says nothing', {}, 2, 'network'],
  ]
  it.for(twice)('%s', async ([, headers, times, from]) => {
    const fetcher = open()
    tells = () => ({ headers })
    expect((await fetcher.fetch(`${origin}/a`)).from).toBe('network')
    expect((await fetcher.fetch(`${origin}/a#elsewhere`)).from).toBe(from)
    expect(asked).toHaveLength(times)
  })

  const validators: [Headers, sends: string, value: string][] = [
    [{ etag: '"v1"' }, 'if-none-match', '"v1"'],
    [{ 'last-modified': 'Wed, 01 Jan 2025 00:00:00 GMT' }, 'if-modified-since', 'Wed, 01 Jan 2025 00:00:00 GMT'],
    [{ etag: 'W/"v1"', 'cache-control': 'no-cache, max-age=60' }, 'if-none-match', 'W/"v1"'],
  ]
  it.for(validators)('%s: it is asked whether they changed', async ([headers, sends, value]) => {
    const fetcher = open()
    tells = (request) => (request.headers[sends] === value ? { status: 304 } : { headers })
    const first = await fetcher.fetch(`${origin}/a`)
    const second = await fetcher.fetch(`${origin}/a`)
    const third = await fetcher.fetch(`${origin}/a`)
    expect([first.from, second.from, third.from]).toEqual(['network', 'cache', 'cache'])
    expect(second.bytes).toEqual(first.bytes)
    expect(asked.map((request) => request.headers[sends])).toEqual([undefined, value, value])
    // A changed file takes the old one's place.
    tells = () => ({ headers: { 'cache-control': 'max-age=60' } })
    expect((await fetcher.fetch(`${origin}/a`)).from).toBe('network')
    expect((await fetcher.fetch(`${origin}/a`)).from).toBe('cache')
  })

  it('the answer that nothing changed may make them fresh again', async () => {
    const fetcher = open()
    tells = ({ headers }) =>
      headers['if-none-match']
        ? { status: 304, headers: { 'cache-control': 'max-age=60' } }
        : { headers: { etag: '"a"' } }
    for (let i = 0; i < 4; i++) await fetcher.fetch(`${origin}/a`)
    expect(asked).toHaveLength(2)
  })

  it('a host that fails when it is asked again is not covered up', async () => {
    const fetcher = open()
    tells = () => ({ headers: { etag: '"a"' } })
    await fetcher.fetch(`${origin}/a`)
    tells = () => ({ status: 500 })
    await expect(fetcher.fetch(`${origin}/a`)).rejects.toThrow(/status 500/)
  })

  it('the place that a redirect leads to is kept, the redirect itself is not', async () => {
    const fetcher = open()
    tells = ({ url }) =>
      url === '/moved' ? { status: 302, headers: { location: '/a' } } : { headers: { 'cache-control': 'max-age=60' } }
    await fetcher.fetch(`${origin}/moved`)
    expect((await fetcher.fetch(`${origin}/moved`)).from).toBe('cache')
    expect(asked.map(({ url }) => url)).toEqual(['/moved', '/a', '/moved'])
  })

  it('many who want the same at once wait for one fetch, and one of them may leave', async () => {
    const fetcher = open()
    tells = () => ({ after: 300 })
    const stop = new AbortController()
    const leaver = fetcher.fetch(`${origin}/a`, stop.signal)
    const others = Array.from({ length: 5 }, () => fetcher.fetch(`${origin}/a`))
    setTimeout(() => stop.abort(), 100)
    await expect(leaver).rejects.toMatchObject({ kind: 'cancelled' })
    expect(await Promise.all(others)).toHaveLength(5)
    expect(asked).toHaveLength(1)
  })

  it('a fetch that nobody waits for any more ends', async () => {
    const fetcher = open()
    tells = () => ({ after: 2000 })
    const closed = new Promise<void>((resolve) => host.once('request', ({ socket }) => socket.once('close', resolve)))
    const stop = new AbortController()
    const load = fetcher.fetch(`${origin}/a`, stop.signal)
    setTimeout(() => stop.abort(), 200)
    await expect(load).rejects.toMatchObject({ kind: 'cancelled' })
    const start = performance.now()
    await closed
    expect(performance.now() - start).toBeLessThan(1000)
  })

  it('those that were not wanted for longest go first when there is no room', async () => {
    const fetcher = open({ cacheBytes: picture.length * 2 })
    tells = () => ({ headers: { 'cache-control': 'max-age=60' } })
    for (const name of ['a', 'b', 'a', 'c', 'a', 'b']) await fetcher.fetch(`${origin}/${name}`)
    expect(asked.map(({ url }) => url)).toEqual(['/a', '/b', '/c', '/b'])
  })

  it('and all of them when somebody says so', async () => {
    const fetcher = open()
    tells = () => ({ headers: { 'cache-control': 'max-age=60' } })
    await fetcher.fetch(`${origin}/a`)
    await fetcher.clear()
    expect((await fetcher.fetch(`${origin}/a`)).from).toBe('network')
  })
})

describe('a folder for what is kept', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'oriel-cache-'))
  })
  afterAll(() => rm(folder, { recursive: true }))
  const kept = () => readdir(folder).then((names) => names.filter((name) => name.endsWith('.oriel')))

  it('without one nothing outlives the server; with one it does, and is still asked about', async () => {
    tells = () => ({ headers: { 'cache-control': 'max-age=60' } })
    await open().fetch(`${origin}/a`)
    expect((await open().fetch(`${origin}/a`)).from).toBe('network')

    await open({ cacheDir: folder }).fetch(`${origin}/a`)
    await expect.poll(kept).toHaveLength(1)
    expect((await open({ cacheDir: folder }).fetch(`${origin}/a`)).from).toBe('cache')
    const [name = ''] = await kept()
    expect((await stat(join(folder, name))).mode & 0o077).toBe(0)
  })

  it('what is damaged there is fetched anew, what is not ours is left alone', async () => {
    tells = () => ({ headers: { 'cache-control': 'max-age=60' } })
    await open({ cacheDir: folder }).fetch(`${origin}/b`)
    await writeFile(join(folder, 'letter.txt'), 'Dear')
    await expect.poll(kept).toHaveLength(2)
    for (const name of await kept()) await writeFile(join(folder, name), '{"url":"')
    const fetcher = open({ cacheDir: folder })
    expect((await fetcher.fetch(`${origin}/b`)).from).toBe('network')
    await fetcher.clear()
    expect(await readdir(folder)).toEqual(['letter.txt'])
  })

  it('what a server left half-written is removed by the next, and a write that fails leaves nothing', async () => {
    tells = () => ({ headers: { 'cache-control': 'max-age=60' } })
    const name = `${'0'.repeat(64)}.oriel`
    await writeFile(join(folder, `${name}.part`), 'half')
    await open({ cacheDir: folder }).clear()
    expect(await readdir(folder)).toEqual(['letter.txt'])

    // Where a folder has the name, no file can be put in its place.
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

  it('it has a bound of its own', async () => {
    tells = () => ({ headers: { 'cache-control': 'max-age=60' } })
    const fetcher = open({ cacheDir: folder, cacheDirBytes: 2.5 * (picture.length + 130), cacheBytes: 0 })
    for (const name of ['1', '2', '3', '4']) await fetcher.fetch(`${origin}/${name}`)
    await expect.poll(kept).toHaveLength(2)
    asked = []
    await fetcher.fetch(`${origin}/4`)
    await fetcher.fetch(`${origin}/1`)
    expect(asked.map(({ url }) => url)).toEqual(['/1'])
  })

  it('one that cannot be used makes nothing fail', async () => {
    tells = () => ({ headers: { 'cache-control': 'max-age=60' } })
    const fetcher = open({ cacheDir: join(folder, 'letter.txt', 'below') })
    await fetcher.fetch(`${origin}/a`)
    expect((await fetcher.fetch(`${origin}/a`)).from).toBe('cache')
  })
})

it('a proxy is used when it is configured, and never because of the environment', async () => {
  const through: string[] = []
  const proxy = createServer().on('connect', ({ url = '' }, socket) => {
    through.push(url)
    const [, port = ''] = url.split(':')
    const far = connect(url.startsWith('pictures.example:') ? Number(port) : 9, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      far.pipe(socket).pipe(far)
    })
    for (const end of [far, socket]) end.on('error', () => {})
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  const uri = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
  process.env.HTTP_PROXY = process.env.http_proxy = uri
  tells = () => ({})
  try {
    const { port } = new URL(origin)
    expect((await open().fetch(`${origin}/a`)).from).toBe('network')
    expect(through).toEqual([])
    expect((await open({ proxy: uri, allowPrivate: [] }).fetch(`http://pictures.example:${port}/a`)).from).toBe(
      'network',
    )
    expect(through).toEqual([`pictures.example:${port}`])
    // Addresses are checked all the same.
    await expect(open({ proxy: uri, allowPrivate: [] }).fetch(`${origin}/a`)).rejects.toThrow(/public internet/)
  } finally {
    delete process.env.HTTP_PROXY
    delete process.env.http_proxy
    proxy.closeAllConnections()
    proxy.close()
  }
})
