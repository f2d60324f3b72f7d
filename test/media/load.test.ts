import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig, type MediaConfig } from '../../src/config.ts'
import { deferred } from '../../src/deferred.ts'
import { bicubic, resize } from '../../src/encoders/preprocess/resize.ts'
import type { Logger } from '../../src/log.ts'
import { DecoderPool } from '../../src/media/decoder/pool.ts'
import { createMedia, type PictureSource } from '../../src/media/index.ts'
import { colours, dataUrl, shape } from '../support/pictures.ts'
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

const load = (urls: readonly (string | Buffer)[], longestEdge = 512, signal = new AbortController().signal) =>
  media.load(
    urls.map(
      (url, index): PictureSource => ({
        url: typeof url === 'string' ? url : dataUrl(url),
        param: `pictures[${index}]`,
      }),
    ),
    longestEdge,
    signal,
  )
const loadOne = async (url: string | Buffer) => {
  const [loaded] = await load([url])
  return loaded
}
const plain = (width: number, height: number): Promise<Buffer> =>
  sharp({ create: { width, height, channels: 3, background: 'red' } })
    .png()
    .toBuffer()

describe('the pictures of a request', () => {
  const names = Object.keys(colours) as (keyof typeof colours)[]
  let pictures: Buffer[]
  beforeAll(async () => {
    pictures = await Promise.all(names.map((colour) => shape(colour, 'square', 96)))
  })
  const middle = ({ rgb, width, height }: { rgb: Uint8Array; width: number; height: number }): number[] => {
    const at = ((height >> 1) * width + (width >> 1)) * 3
    return Array.from(rgb.subarray(at, at + 3))
  }

  it('keep their order, whichever comes first', async () => {
    // The earlier one is asked for, the later it comes.
    const host = createServer(({ url = '' }, response) => {
      const index = Number(url.slice(1))
      setTimeout(() => response.end(pictures[index]), (names.length - index) * 60)
    })
    await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve))
    const { port } = host.address() as AddressInfo
    const urls = names.map((_, index) =>
      index % 3 === 2 ? dataUrl(pictures[index] ?? Buffer.alloc(0)) : `http://127.0.0.1:${port}/${index}`,
    )
    const loaded = await load(urls)
    host.close()
    expect(loaded.map(({ pictures: [picture] }) => picture && middle(picture))).toEqual(
      names.map((name) => [...colours[name]]),
    )
    expect(loaded.map(({ from }) => from)).toEqual(names.map((_, index) => (index % 3 === 2 ? 'request' : 'network')))
  })

  it('fail together with the first that fails, in their order', async () => {
    const broken = Buffer.from('\x89PNG\r\n\x1a\n broken', 'latin1')
    const late = shape('red', 'square', 900)
    await expect(load([await late, broken, Buffer.from('unknown'), broken])).rejects.toMatchObject({
      param: 'pictures[1]',
    })
  })

  it('have a hash of what they show: their pixels and their shape, not their file', async () => {
    const of = async (file: Buffer) => (await loadOne(file))?.pictures[0]?.hash
    const [tall, wide] = [await plain(20, 40), await plain(40, 20)]
    expect(await of(tall)).not.toBe(await of(wide))
    expect(await of(tall)).toBe(await of(await sharp(tall).tiff({ compression: 'lzw' }).toBuffer()))
    expect(await of(await plain(20, 40))).toBe(await of(tall))
  })

  it('leave nothing behind when nobody waits for them', async () => {
    const stop = new AbortController()
    const loading = load(pictures, 512, stop.signal)
    stop.abort()
    await expect(loading).rejects.toMatchObject({ kind: 'cancelled' })
    expect(await load(pictures)).toHaveLength(names.length)
  })

  it('are shrunk to twice what the model can use, which the model cannot tell', async () => {
    const clouds = { width: 24, height: 18, channels: 3 } as const
    const noise = Uint8Array.from({ length: 24 * 18 * 3 }, (_, i) => (i * i * 31 + i * 17) & 255)
    const [width, height] = [1100, 825]
    const file = await sharp(noise, { raw: clouds })
      .resize(width, height, { kernel: 'cubic' })
      .webp({ quality: 80 })
      .toBuffer()
    const full = await sharp(file).raw().toBuffer()
    const [loaded] = await load([file], 200)
    const picture = loaded?.pictures[0]
    expect(picture).toMatchObject({ width: 400, height: 300, original: { width, height } })
    if (picture === undefined) return
    const seen = { width: 200, height: 150 }
    const direct = resize({ width, height, rgb: full }, seen, bicubic)
    const shrunk = resize(picture, seen, bicubic)
    expect(distance(direct, shrunk).mean).toBeLessThan(1)
  })
})

describe('what a file is is told by its first bytes', () => {
  it('a wrong label, or none, is no matter', async () => {
    const picture = await shape('red', 'circle', 64)
    const base64 = picture.toString('base64')
    for (const url of [
      `data:image/jpeg;base64,${base64}`,
      `data:application/pdf;base64,${base64}`,
      `data:text/plain;charset=utf-8;base64,${base64}`,
      `data:;base64,${base64}`,
      `DATA:image/png;BASE64,${base64}`,
      base64,
      // The other alphabet, without its end, in lines, and with signs that URLs do not like written otherwise.
      `data:image/png;base64,${picture.toString('base64url')}`,
      `data:image/png;base64,${base64.replace(/.{76}/g, '$&\r\n')}`,
      `data:image/png;base64,${encodeURIComponent(base64)}`,
    ])
      expect(await loadOne(url)).toMatchObject({ format: 'png', pictures: [{ width: 64, height: 64 }] })
  })

  const strangers: [what: string, file: string | Buffer, says: RegExp][] = [
    ['svg', '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', /SVG or XML, which is never rendered/],
    ['svg behind a declaration', '\ufeff<?xml version="1.0"?>\n<svg/>', /SVG or XML/],
    ['a web page', '<!DOCTYPE html><title>404</title>', /a web page/],
    ['json', '{"error":"not found"}', /JSON/],
    ['text', 'Bad Gateway', /of no kind that is known/],
    ['an icon', Buffer.from([0, 0, 1, 0, 1, 0, 16, 16]), /a Windows icon/],
    ['a video', Buffer.from('\0\0\0\x18ftypmp42\0\0\0\0mp42isom', 'latin1'), /a video/],
    ['JPEG XL', Buffer.from([0xff, 0x0a, 0, 0]), /JPEG XL/],
    ['JPEG 2000', Buffer.from('\0\0\0\x0cjP  \r\n', 'latin1'), /JPEG 2000/],
    ['a zip', Buffer.from('PK\x03\x04'), /zip/],
    ['svg in gzip', Buffer.from([0x1f, 0x8b, 8, 0]), /compressed with gzip/],
    ['a text that begins like a bitmap', 'BM is where the hospital is', /of no kind that is known/],
  ]
  it.for(strangers)('%s is refused, and told what it is', async ([, file, says]) => {
    const error = await loadOne(Buffer.from(file)).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ kind: 'unsupported_media', code: 'unsupported_image', param: 'pictures[0]' })
    expect(String(error)).toMatch(says)
    expect(String(error)).toContain('png, jpeg, gif, bmp, tiff, pnm, webp, avif, heic, pdf')
  })

  it('a file of which only the beginning came', async () => {
    const whole = sharp(await shape('red', 'circle', 128))
    for (const format of ['png', 'jpeg', 'gif', 'tiff', 'webp', 'avif'] as const) {
      const file = await whole.clone().toFormat(format).toBuffer()
      for (const part of [0.3, 0.7])
        await expect(loadOne(file.subarray(0, file.length * part)), format).rejects.toMatchObject({
          kind: 'unreadable_media',
        })
    }
  })
})

describe('limits: each refusal names the part, what was found, what is allowed', () => {
  const refusals: [what: string, urls: () => Promise<(string | Buffer)[]>, error: object, says: RegExp][] = [
    [
      'pictures',
      async () => Array.from({ length: 11 }, () => 'http://127.0.0.1:9/'),
      { kind: 'invalid', code: 'too_many_images', param: 'pictures[10]' },
      /has 11 pictures, and 10 are allowed/,
    ],
    [
      'base64 in all',
      async () => ['A'.repeat(60_000), 'A'.repeat(40_001)],
      { kind: 'too_large', code: 'images_too_large', param: 'pictures[1]' },
      /100001 characters up to this one, and 100000 are allowed in all/,
    ],
    [
      'pixels of a picture',
      async () => [await plain(10, 10), await plain(1001, 1000)],
      { kind: 'too_large', code: 'image_too_large', param: 'pictures[1]' },
      /1001 x 1000 pixels, and a picture may have 1000000/,
    ],
    [
      'pixels of a request',
      async () => [await plain(1000, 1000), await plain(1000, 1000), await plain(1000, 1000), await plain(100, 100)],
      { kind: 'too_large', code: 'images_too_large' },
      /3010000 pixels with this one, and 3000000 are allowed in all/,
    ],
  ]
  it.for(refusals)('%s', async ([, urls, error, says]) => {
    const refusal = await load(await urls()).catch((thrown: unknown) => thrown)
    expect(refusal).toMatchObject(error)
    expect(String(refusal)).toMatch(says)
  })

  it('every one of them has a setting', () => {
    const environment = Object.fromEntries(
      Object.entries(loadConfig({}, {}).media).map(([setting, value]) => {
        const name = `ORIEL_${setting === 'proxy' ? 'FETCH_PROXY' : setting.replace(/[A-Z]/g, '_$&').toUpperCase()}`
        return [name, typeof value === 'number' ? '7' : setting === 'proxy' ? 'http://proxy.example' : '::1']
      }),
    )
    const set = Object.values(loadConfig({}, environment).media)
    expect(set.filter((value) => JSON.stringify(value) === '7')).toHaveLength(13)
    expect(set.filter((value) => JSON.stringify(value) === '["::1"]')).toHaveLength(3)
    expect(loadConfig({}, environment).media).toMatchObject({ cacheDir: '::1', proxy: 'http://proxy.example' })
  })

  it('a picture of one pixel is one', async () => {
    expect((await loadOne(await plain(1, 1)))?.pictures).toMatchObject([{ width: 1, height: 1 }])
  })

  it('pixels that nobody has let go are bounded in all requests', async () => {
    const narrow = createMedia({ ...loadConfig({}, {}).media, decoders: 2, maxPixelsHeld: 40_000 })
    const picture = dataUrl(await plain(150, 100))
    const several = (count: number, signal: AbortSignal) =>
      narrow.load(
        Array.from({ length: count }, (_, index) => ({ url: picture, param: String(index) })),
        512,
        signal,
      )
    const [one, other, third] = [new AbortController(), new AbortController(), new AbortController()]
    const refusal = { kind: 'overloaded', code: 'too_many_pixels', retryAfter: expect.any(Number) }
    const [first] = await several(1, one.signal)
    await expect(several(2, other.signal)).rejects.toMatchObject(refusal)
    // What the refused one had got goes at its end, which comes after its answer.
    other.abort()
    first?.pictures[0]?.letGo()
    expect(first?.pictures[0]?.rgb).toHaveLength(0)
    // Alone, a request may have what a request may have; the next one is not even decoded.
    expect(await several(4, third.signal)).toHaveLength(4)
    await expect(several(1, one.signal)).rejects.toMatchObject(refusal)
    expect(await several(0, one.signal)).toEqual([])
    third.abort()
    expect(await several(2, one.signal)).toHaveLength(2)
    await narrow.close()
  })

  it('decoding waits for room rather than fail', async () => {
    const narrow = createMedia({ ...loadConfig({}, {}).media, decoders: 4, maxPixelsInFlight: 10_000 })
    const picture = dataUrl(await plain(150, 100))
    const sources = Array.from({ length: 12 }, (_, index): PictureSource => ({ url: picture, param: String(index) }))
    expect(await narrow.load(sources, 512, new AbortController().signal)).toHaveLength(12)
    // One that leaves while it waits takes no room with it.
    const stop = new AbortController()
    const leaving = narrow.load(sources, 512, stop.signal)
    setTimeout(() => stop.abort(), 5)
    await expect(leaving).rejects.toMatchObject({ kind: 'cancelled' })
    expect(await narrow.load(sources, 512, new AbortController().signal)).toHaveLength(12)
    await narrow.close()
  })
})

it('a decoder whose file nobody waits for any more is gone for good, and its room is free', async () => {
  const warnings: string[] = []
  const log = { warn: (_: unknown, text: string) => warnings.push(text) } as unknown as Logger
  const pool = new DecoderPool({ processes: 1, timeoutMs: 500, log })
  const room = deferred<() => void>()
  const waiting = deferred<void>()
  const stop = new AbortController()
  let freed = 0
  const decoding = pool.decode(
    { payload: dataUrl(await plain(8, 8)), options: { pages: undefined, mostPages: 1, longestEdge: 512 } },
    () => {
      waiting.resolve()
      return room.promise
    },
    stop.signal,
  )
  await waiting.promise
  stop.abort()
  await expect(decoding).rejects.toMatchObject({ kind: 'cancelled' })
  // Longer than such a decoder is left alone.
  await sleep(1500)
  room.resolve(() => freed++)
  await sleep(1000)
  expect({ freed, warnings }).toEqual({ freed: 1, warnings: [] })
  await pool.close()
})
