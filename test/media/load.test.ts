import { randomBytes, randomUUID } from 'node:crypto'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { MediaConfig } from '../../src/config.ts'
import { deferred } from '../../src/deferred.ts'
import { bicubic, resize } from '../../src/encoders/preprocess/resize.ts'
import { Costs } from '../../src/fairness.ts'
import { loadConfig } from '../../src/load-config.ts'
import type { Logger } from '../../src/log.ts'
import { DecoderPool } from '../../src/media/decoder/pool.ts'
import { type AttachmentSource, asImages, createMedia, type LoadedImages } from '../../src/media/index.ts'
import { megabytesKept } from '../support/garbage.ts'
import { colours, dataUrl, shape } from '../support/images.ts'
import { decoded } from '../support/pixels.ts'
import { chunk } from './bombs.ts'
import { distance } from './sources.ts'

const settings: Partial<MediaConfig> = {
  allowPrivate: ['127.0.0.1'],
  urlTimeoutMs: 5000,
  maxImages: 10,
  maxBase64Bytes: 100_000,
  maxPixels: 1_000_000,
  maxTotalPixels: 3_000_000,
}
const media = createMedia({ ...loadConfig({}, {}).media, ...settings })
afterAll(() => media.close())

/** Who asks. */
const client = 'one'
/** One that has seen nothing before. */
const newAsker = (client = 'one') => ({ client, isolation: randomUUID() })
const load = async (urls: readonly (string | Buffer)[], longestEdge = 512, signal = new AbortController().signal) => {
  const loaded = await media.load(
    urls.map(
      (url, index): AttachmentSource => ({
        kind: 'image',
        url: typeof url === 'string' ? url : dataUrl(url),
        param: `images[${index}]`,
      }),
    ),
    newAsker(),
    { longestEdge },
    signal,
  )
  return loaded.map(decoded)
}
const loadOne = async (url: string | Buffer) => {
  const [loaded] = await load([url])
  return loaded
}
const plain = (width: number, height: number): Promise<Buffer> =>
  sharp({ create: { width, height, channels: 3, background: 'red' } })
    .png()
    .toBuffer()

describe('the images of a request', () => {
  const names = Object.keys(colours) as (keyof typeof colours)[]
  let files: Buffer[]
  beforeAll(async () => {
    files = await Promise.all(names.map((colour) => shape(colour, 'square', 96)))
  })
  const middle = ({ rgb, width, height }: { rgb: Uint8Array; width: number; height: number }): number[] => {
    const at = ((height >> 1) * width + (width >> 1)) * 3
    return Array.from(rgb.subarray(at, at + 3))
  }

  it('keep their order, although the later ones arrive first', async () => {
    const waiting = new Map<number, ServerResponse>()
    const host = createServer(({ url = '' }, response) => {
      waiting.set(Number(url.slice(1)), response)
      if (waiting.size === names.filter((_, index) => index % 3 !== 2).length) void respond()
    })
    const respond = async () => {
      for (const [index, response] of [...waiting].toSorted(([a], [b]) => b - a))
        await new Promise<void>((resolve) => response.end(files[index], resolve))
    }
    await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve))
    const { port } = host.address() as AddressInfo
    const urls = names.map((_, index) =>
      index % 3 === 2 ? dataUrl(files[index] ?? Buffer.alloc(0)) : `http://127.0.0.1:${port}/${index}`,
    )
    const loaded = await load(urls)
    host.close()
    expect(loaded.map(({ images: [image] }) => image && middle(image))).toEqual(names.map((name) => [...colours[name]]))
    expect(loaded.map(({ kind }) => kind)).toEqual(names.map(() => 'image'))
    expect(loaded.map(({ from }) => from)).toEqual(names.map((_, index) => (index % 3 === 2 ? 'request' : 'network')))
  })

  it('fail with the error of the first that fails, in their order', async () => {
    const broken = Buffer.from('\x89PNG\r\n\x1a\n broken', 'latin1')
    const late = shape('red', 'square', 900)
    await expect(load([await late, broken, Buffer.from('unknown'), broken])).rejects.toMatchObject({
      param: 'images[1]',
    })
  })

  it('fail at once although a later one, whose download began before the load, is still on its way', async () => {
    const slow = createMedia({ ...loadConfig({}, {}).media, allowPrivate: ['127.0.0.1'], urlTimeoutMs: 600_000 })
    const asked = deferred<void>()
    const host = createServer(() => asked.resolve())
    await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve))
    const request = new AbortController()
    const url = `http://127.0.0.1:${(host.address() as AddressInfo).port}/`
    const sources = ['data:,', url].map((url, index) => ({ kind: 'image' as const, url, param: `images[${index}]` }))
    try {
      slow.prefetch(sources, client, request.signal)
      await asked.promise
      await expect(slow.load(sources, newAsker(), { longestEdge: 512 }, request.signal)).rejects.toMatchObject({
        param: 'images[0]',
      })
    } finally {
      request.abort()
      host.close()
      await slow.close()
    }
  })

  it('are fetched before the load, however many images the requests that are being answered have loaded', async () => {
    const image = await plain(4, 4)
    const asked: string[] = []
    const host = createServer(({ url = '' }, response) => {
      asked.push(url)
      response.end(image)
    })
    await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve))
    const { port } = host.address() as AddressInfo
    const requests = Array.from({ length: 8 }, () => new AbortController())
    try {
      for (const [request, { signal }] of requests.entries()) {
        const sources = Array.from({ length: 10 }, (_, index): AttachmentSource => {
          return { kind: 'image', url: `http://127.0.0.1:${port}/${request}/${index}`, param: `images[${index}]` }
        })
        media.prefetch(sources, client, signal)
        await vi.waitFor(() => expect(asked).toHaveLength((request + 1) * 10))
        expect(await media.load(sources, newAsker(), { longestEdge: 512 }, signal)).toHaveLength(10)
      }
    } finally {
      for (const request of requests) request.abort()
      host.close()
    }
  })

  it('keep no file in memory that is not counted, while the answer goes on', async () => {
    const uncached = createMedia({ ...loadConfig({}, {}).media, allowPrivate: ['127.0.0.1'], cacheBytes: 0 })
    const small = await plain(4, 4)
    const comment = chunk('tEXt', Buffer.alloc(4_000_000, 'a'))
    const large = Buffer.concat([small.subarray(0, -12), comment, small.subarray(-12)])
    const host = createServer((_, response) => response.end(large))
    await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve))
    const { port } = host.address() as AddressInfo
    const sources = Array.from({ length: 8 }, (_, index): AttachmentSource => {
      return { kind: 'image', url: `http://127.0.0.1:${port}/${index}`, param: `images[${index}]` }
    })
    const [asker, answers] = [newAsker(), Array.from({ length: 4 }, () => new AbortController())]
    const before = await megabytesKept()
    const loaded: LoadedImages[] = []
    try {
      for (const [answer, { signal }] of answers.entries()) {
        if (answer % 2 === 1) uncached.prefetch(sources, client, signal)
        // The files are known from the second time on, and kept and counted until nobody will ask for their pixels.
        const files = (await uncached.load(sources, asker, { longestEdge: 512 }, signal)).map(asImages)
        if (answer > 0) for (const { images } of files) for (const image of images) image.letGo()
        loaded.push(...files)
      }
      expect((await megabytesKept()) - before).toBeLessThan(10)
      expect(loaded).toHaveLength(32)
    } finally {
      for (const answer of answers) answer.abort()
      host.close()
      await uncached.close()
    }
  })

  it('have a hash of their pixels and size, whatever the file', async () => {
    const of = async (file: Buffer) => (await loadOne(file))?.images[0]?.hash
    const [tall, wide] = [await plain(20, 40), await plain(40, 20)]
    expect(await of(tall)).not.toBe(await of(wide))
    expect(await of(tall)).toBe(await of(await sharp(tall).tiff({ compression: 'lzw' }).toBuffer()))
    expect(await of(await plain(20, 40))).toBe(await of(tall))
  })

  it('can be loaded after a load was cancelled', async () => {
    const stop = new AbortController()
    const loading = load(files, 512, stop.signal)
    stop.abort()
    await expect(loading).rejects.toMatchObject({ kind: 'cancelled' })
    expect(await load(files)).toHaveLength(names.length)
  })

  it('are shrunk to twice what the model can use, which changes its input by less than 1 of 255', async () => {
    const clouds = { width: 24, height: 18, channels: 3 } as const
    const noise = Uint8Array.from({ length: 24 * 18 * 3 }, (_, i) => (i * i * 31 + i * 17) & 255)
    const [width, height] = [1100, 825]
    const file = await sharp(noise, { raw: clouds })
      .resize(width, height, { kernel: 'cubic' })
      .webp({ quality: 80 })
      .toBuffer()
    const full = await sharp(file).raw().toBuffer()
    const [loaded] = await load([file], 200)
    const image = loaded?.images[0]
    expect(image).toMatchObject({ width: 400, height: 300, original: { width, height } })
    const input = { width: 200, height: 150 }
    const direct = resize({ width, height, rgb: full }, input, bicubic)
    const shrunk = resize(image ?? { width: 0, height: 0, rgb: new Uint8Array() }, input, bicubic)
    expect(distance(direct, shrunk).mean).toBeLessThan(1)
  })
})

it.for(['audio', 'video'] as const)('refuses what is no %s, naming what it is', async (kind) => {
  const source: AttachmentSource = { kind, url: dataUrl(Buffer.from('<svg/>')), param: 'attachment' }
  await expect(
    media.load([source], newAsker(), { longestEdge: 512 }, new AbortController().signal),
  ).rejects.toMatchObject({
    kind: 'unsupported_media',
    code: `unsupported_${kind}`,
    param: 'attachment',
    message: expect.stringMatching(
      `^The ${kind} cannot be decoded: the data is SVG or XML, .*Supported formats: mp4, mov,`,
    ),
  })
})

describe('the format of a file is detected by its first bytes', () => {
  it('ignores the media type of a data URL', async () => {
    const file = await shape('red', 'circle', 64)
    const base64 = file.toString('base64')
    for (const url of [
      `data:image/jpeg;base64,${base64}`,
      `data:application/pdf;base64,${base64}`,
      `data:text/plain;charset=utf-8;base64,${base64}`,
      `data:;base64,${base64}`,
      `DATA:image/png;BASE64,${base64}`,
      base64,
      // The URL-safe alphabet without padding, lines, and percent-encoding.
      `data:image/png;base64,${file.toString('base64url')}`,
      `data:image/png;base64,${base64.replace(/.{76}/g, '$&\r\n')}`,
      `data:image/png;base64,${encodeURIComponent(base64)}`,
    ])
      expect(await loadOne(url)).toMatchObject({ format: 'png', images: [{ width: 64, height: 64 }] })
  })

  const unsupported: [what: string, file: string | Buffer, says: RegExp][] = [
    ['svg', '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', /SVG or XML, which is never rendered/],
    ['svg after an XML declaration', '\ufeff<?xml version="1.0"?>\n<svg/>', /SVG or XML/],
    ['a web page', '<!DOCTYPE html><title>404</title>', /a web page/],
    ['json', '{"error":"not found"}', /JSON/],
    ['text', 'Bad Gateway', /the data is in an unknown format/],
    ['an icon', Buffer.from([0, 0, 1, 0, 1, 0, 16, 16]), /a Windows icon/],
    ['a video', Buffer.from('\0\0\0\x18ftypmp42\0\0\0\0mp42isom', 'latin1'), /a video/],
    ['JPEG XL', Buffer.from([0xff, 0x0a, 0, 0]), /JPEG XL/],
    ['JPEG 2000', Buffer.from('\0\0\0\x0cjP  \r\n', 'latin1'), /JPEG 2000/],
    ['a zip', Buffer.from('PK\x03\x04'), /zip/],
    ['svg in gzip', Buffer.from([0x1f, 0x8b, 8, 0]), /compressed with gzip/],
    ['a text that begins with BM', 'BM is where the hospital is', /the data is in an unknown format/],
  ]
  it.for(unsupported)('refuses %s, naming what the data looks like', async ([, file, says]) => {
    const error = await loadOne(Buffer.from(file)).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ kind: 'unsupported_media', code: 'unsupported_image', param: 'images[0]' })
    expect(String(error)).toMatch(says)
    expect(String(error)).toContain('png, jpeg, gif, bmp, tiff, pnm, webp, avif, heic, pdf')
  })

  it('refuses a truncated file', async () => {
    const whole = sharp(await shape('red', 'circle', 128))
    for (const format of ['png', 'jpeg', 'gif', 'tiff', 'webp', 'avif'] as const) {
      const file = await whole.clone().toFormat(format).toBuffer()
      for (const share of [0.3, 0.7])
        await expect(loadOne(file.subarray(0, file.length * share)), format).rejects.toMatchObject({
          kind: 'unreadable_media',
        })
    }
  })
})

describe('limits: an error names the part, what was found and what is allowed', () => {
  const refusals: [what: string, urls: () => Promise<(string | Buffer)[]>, error: object, says: RegExp][] = [
    [
      'images in a request',
      async () => Array.from({ length: 11 }, () => 'http://127.0.0.1:9/'),
      { kind: 'invalid', code: 'too_many_images', param: 'images[10]' },
      /has 11 images; at most 10 are allowed/,
    ],
    [
      'base64 in a request',
      async () => ['A'.repeat(60_000), 'A'.repeat(40_001)],
      { kind: 'too_large', code: 'images_too_large', param: 'images[1]' },
      /100001 characters up to and including this one; at most 100000 are allowed in total/,
    ],
    [
      'pixels of an image',
      async () => [await plain(10, 10), await plain(1001, 1000)],
      { kind: 'too_large', code: 'image_too_large', param: 'images[1]' },
      /1001 x 1000 pixels; at most 1000000 pixels are allowed per image/,
    ],
    [
      'pixels of a request',
      async () => [await plain(1000, 1000), await plain(1000, 1000), await plain(1000, 1000), await plain(100, 100)],
      { kind: 'too_large', code: 'images_too_large' },
      /3010000 pixels up to and including this one; at most 3000000 are allowed in total/,
    ],
  ]
  it.for(refusals)('%s', async ([, urls, error, says]) => {
    const refusal = await load(await urls()).catch((thrown: unknown) => thrown)
    expect(refusal).toMatchObject(error)
    expect(String(refusal)).toMatch(says)
  })

  it('can all be set by environment variables', () => {
    const environment = Object.fromEntries(
      Object.entries(loadConfig({}, {}).media).map(([setting, value]) => {
        const name = `ORIEL_${setting === 'proxy' ? 'FETCH_PROXY' : setting.replace(/[A-Z]/g, '_$&').toUpperCase()}`
        return [name, typeof value === 'number' ? '7' : setting === 'proxy' ? 'http://proxy.example' : '::1']
      }),
    )
    const set = Object.values(loadConfig({}, environment).media)
    expect(set.filter((value) => JSON.stringify(value) === '7')).toHaveLength(23)
    expect(set.filter((value) => JSON.stringify(value) === '["::1"]')).toHaveLength(3)
    expect(loadConfig({}, environment).media).toMatchObject({ cacheDir: '::1', proxy: 'http://proxy.example' })
  })

  it('accept an image of one pixel', async () => {
    expect((await loadOne(await plain(1, 1)))?.images).toMatchObject([{ width: 1, height: 1 }])
  })

  it('bound the pixels that all requests together hold', async () => {
    const narrow = createMedia({ ...loadConfig({}, {}).media, decoders: 2, maxPixelsHeld: 40_000 })
    const url = dataUrl(await plain(150, 100))
    const several = async (count: number, signal: AbortSignal, from = client) => {
      const sources = Array.from({ length: count }, (_, at) => ({ kind: 'image' as const, url, param: String(at) }))
      return (await narrow.load(sources, newAsker(from), { longestEdge: 512 }, signal)).map(asImages)
    }
    const [one, other, third] = [new AbortController(), new AbortController(), new AbortController()]
    const refusal = { kind: 'overloaded', code: 'too_many_pixels', retryAfter: expect.any(Number) }
    const [first] = await several(1, one.signal)
    await expect(several(2, other.signal)).rejects.toMatchObject(refusal)
    // The refused request holds what it got until its signal aborts.
    other.abort()
    first?.images[0]?.letGo()
    expect(first?.images[0]?.rgb).toHaveLength(0)
    // A request that is alone is bounded only by the limits of a request. The next one is refused before decoding.
    expect(await several(4, third.signal)).toHaveLength(4)
    await expect(several(1, one.signal)).rejects.toMatchObject(refusal)
    expect(await several(0, one.signal)).toEqual([])
    // Whatever it holds, half is left for other clients.
    const beside = new AbortController()
    expect(await several(1, beside.signal, 'another')).toHaveLength(1)
    await expect(several(1, beside.signal, 'another')).rejects.toMatchObject(refusal)
    beside.abort()
    third.abort()
    expect(await several(2, one.signal)).toHaveLength(2)
    one.abort()
    // One client has half at most, so another finds a place.
    const [fourth, fifth, another] = [new AbortController(), new AbortController(), new AbortController()]
    expect(await several(1, fourth.signal)).toHaveLength(1)
    await expect(several(1, fifth.signal)).rejects.toMatchObject(refusal)
    expect(await several(1, another.signal, 'another')).toHaveLength(1)
    for (const request of [fourth, fifth, another]) request.abort()
    await narrow.close()
  })

  it('let decoding wait for pixels in flight instead of failing', async () => {
    const narrow = createMedia({ ...loadConfig({}, {}).media, decoders: 4, maxPixelsInFlight: 10_000 })
    const url = dataUrl(await plain(150, 100))
    const sources = Array.from(
      { length: 12 },
      (_, index): AttachmentSource => ({ kind: 'image', url, param: String(index) }),
    )
    expect(await narrow.load(sources, newAsker(), { longestEdge: 512 }, new AbortController().signal)).toHaveLength(12)
    // A request that is cancelled while it waits leaves nothing occupied.
    const stop = new AbortController()
    const cancelled = narrow.load(sources, newAsker(), { longestEdge: 512 }, stop.signal)
    setImmediate(() => stop.abort())
    await expect(cancelled).rejects.toMatchObject({ kind: 'cancelled' })
    expect(await narrow.load(sources, newAsker(), { longestEdge: 512 }, new AbortController().signal)).toHaveLength(12)
    await narrow.close()
  })
})

it('a decoder whose cancelled file waits for admission is replaced, and a late admission is returned', async () => {
  const warnings: string[] = []
  const log = { warn: (_: unknown, text: string) => warnings.push(text) } as unknown as Logger
  const pool = new DecoderPool({ ...loadConfig({}, {}).media, decoders: 1 }, new Costs(), log)
  const file = {
    payload: dataUrl(await plain(8, 8)),
    options: { wanted: { kind: 'image' as const, pages: null, longestEdge: 512 }, mostPages: 1 },
  }
  const admission = deferred<() => void>()
  const waiting = deferred<void>()
  const stop = new AbortController()
  let returned = 0
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    const decoding = pool.decode(
      client,
      file,
      () => {
        waiting.resolve()
        return admission.promise
      },
      stop.signal,
    )
    await waiting.promise
    stop.abort()
    await expect(decoding).rejects.toMatchObject({ kind: 'cancelled' })
    // The grace period of a cancelled file.
    await vi.advanceTimersByTimeAsync(1000)
    const next = await pool.decode(client, file, async () => () => {}, new AbortController().signal)
    expect(next.parts).toMatchObject([{ head: { width: 8, height: 8 } }])
    admission.resolve(() => returned++)
    await admission.promise
    await vi.advanceTimersByTimeAsync(60_000)
    expect({ returned, warnings }).toEqual({ returned: 1, warnings: [] })
  } finally {
    vi.useRealTimers()
    await pool.close()
  }
})

describe('an image that is written as a file', () => {
  const edge = 800
  const written = (rgb: Uint8Array) =>
    media.write({ width: edge, height: edge, rgb }, client, new AbortController().signal)

  it('is a PNG with its pixels', async () => {
    const rgb = Buffer.from(Array.from({ length: edge * edge * 3 }, (_, at) => at % 7))
    const { format, bytes } = await written(rgb)
    expect(format).toBe('png')
    expect(rgb.equals(await sharp(bytes).raw().toBuffer())).toBe(true)
  })

  it('is a JPEG if the PNG would be large', async () => {
    const { format, bytes } = await written(randomBytes(edge * edge * 3))
    expect([format, bytes.length < 1_000_000]).toEqual(['jpeg', true])
    expect(await sharp(bytes).metadata()).toMatchObject({ format: 'jpeg', width: edge, height: edge })
  })
})
