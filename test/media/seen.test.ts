import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import sharp from 'sharp'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { MediaConfig } from '../../src/config.ts'
import { loadConfig } from '../../src/load-config.ts'
import { DecoderPool } from '../../src/media/decoder/pool.ts'
import { type AttachmentSource, asImages, createMedia, type LoadedImages } from '../../src/media/index.ts'
import { dataUrl, shape } from '../support/images.ts'
import { animated } from './apng.ts'
import { plainPdf } from './plain-pdf.ts'

/** What decoders were asked to decode: the pages of each file. */
const decodes = vi.spyOn(DecoderPool.prototype, 'decode')
const pagesDecoded = () =>
  decodes.mock.calls.map(([, { options }]) => options.wanted.kind === 'image' && options.wanted.pages)
beforeEach(() => void decodes.mockClear())

const open = (settings: Partial<MediaConfig> = {}) =>
  createMedia({ ...loadConfig({}, {}).media, decoders: 1, allowPrivate: ['127.0.0.1'], ...settings })
const media = open()
afterAll(() => media.close())

interface Request {
  pages?: string | number
  isolation?: string
  client?: string
  longestEdge?: number
  signal?: AbortSignal
  from?: ReturnType<typeof open>
}

const load = async (urls: readonly string[], request: Request = {}): Promise<LoadedImages[]> => {
  const { pages, isolation = 'usual', client = 'one', longestEdge = 512, signal, from = media } = request
  const sources = urls.map((url, index): AttachmentSource => ({ kind: 'image', url, pages, param: `images[${index}]` }))
  const loaded = await from.load(
    sources,
    { client, isolation },
    { longestEdge },
    signal ?? new AbortController().signal,
  )
  return loaded.map(asImages)
}
const loadOne = async (url: string, request?: Request): Promise<LoadedImages> => {
  const [loaded] = await load([url], request)
  if (loaded === undefined) throw new Error('nothing was loaded')
  return loaded
}
/** All that is known of a file, without its pixels and the time that they took. */
const factsOf = ({ images, decodeMs: _, fetchMs: __, from: ___, ...file }: LoadedImages) => ({
  ...file,
  images: images.map(({ width, height, hash, original, page }) => ({ width, height, hash, original, page })),
})
const pixelsOf = (loaded: LoadedImages) =>
  Promise.all(loaded.images.map(async (image) => Buffer.from(await image.decode()).toString('base64')))

let made = 0
/** A picture that no other test has loaded. */
const fresh = async (width = 40, height = 30): Promise<Buffer> => {
  const create = { width, height, channels: 3, background: { r: made++, g: 90, b: 200 } } as const
  return sharp({ create }).png().toBuffer()
}

describe('a file that comes again', () => {
  it('is not decoded, and the same is said of it', async () => {
    const turned = await sharp(await fresh(3000, 20))
      .withMetadata({ orientation: 6 })
      .jpeg()
      .toBuffer()
    for (const file of [dataUrl(await fresh()), dataUrl(turned, 'image/jpeg'), dataUrl(plainPdf(3))]) {
      const first = await loadOne(file, { longestEdge: 256 })
      decodes.mockClear()
      const again = await loadOne(file, { longestEdge: 256 })
      expect(pagesDecoded()).toEqual([])
      expect(factsOf(again)).toEqual(factsOf(first))
      expect([first.decodeMs > 0, again.decodeMs]).toEqual([true, 0])
      expect(again.images.map(({ rgb }) => rgb)).toEqual(first.images.map(() => null))
    }
  })

  it('is decoded when its pixels are asked for, once, whoever asks and how often', async () => {
    const file = dataUrl(await fresh())
    const pixels = await pixelsOf(await loadOne(file))
    decodes.mockClear()
    const again = await loadOne(file)
    expect(await Promise.all([pixelsOf(again), pixelsOf(again)])).toEqual([pixels, pixels])
    expect(await pixelsOf(again)).toEqual(pixels)
    expect(pagesDecoded()).toEqual(['1'])
    expect(again.decodeMs).toBeGreaterThan(0)
    again.images[0]?.letGo()
    expect(again.images[0]?.rgb).toHaveLength(0)
    await expect(again.images[0]?.decode()).rejects.toMatchObject({ kind: 'cancelled' })
  })

  it('is decoded from the page on that is asked for, without pages that were let go', async () => {
    const file = dataUrl(plainPdf(5))
    const pixels = await pixelsOf(await loadOne(file))
    decodes.mockClear()
    const { images } = await loadOne(file)
    images[3]?.letGo()
    expect(Buffer.from((await images[1]?.decode()) ?? []).toString('base64')).toBe(pixels[1])
    expect(Buffer.from((await images[4]?.decode()) ?? []).toString('base64')).toBe(pixels[4])
    expect(pagesDecoded()).toEqual(['2,3,5'])
    expect(Buffer.from((await images[0]?.decode()) ?? []).toString('base64')).toBe(pixels[0])
    expect(pagesDecoded()).toEqual(['2,3,5', '1'])
  })

  it('is decoded for the frames of a selection in its order', async () => {
    const frames = await Promise.all((['red', 'green', 'blue'] as const).map((colour) => shape(colour)))
    const gif = await sharp(frames, { join: { animated: true } })
      .gif({ delay: [100, 100, 100] })
      .toBuffer()
    for (const pages of ['3,1', 2, 'all', '2,2']) {
      const first = await loadOne(dataUrl(gif), { pages })
      decodes.mockClear()
      const again = await loadOne(dataUrl(gif), { pages })
      expect(factsOf(again)).toEqual(factsOf(first))
      expect(pagesDecoded()).toEqual([])
      expect(await pixelsOf(again)).toEqual(await pixelsOf(first))
      expect(pagesDecoded()).toHaveLength(1)
    }
  })

  it.for(['gif', 'webp', 'png'] as const)(
    'has the same pixels when some of its frames are shrunk alone: %s',
    async (format) => {
      const frames = await Promise.all(
        [1, 2, 3, 4].map((seed) => {
          const rgb = Uint8Array.from({ length: 90 * 70 * 3 }, (_, at) => (at * at * 31 + at * seed * 7) & 255)
          return sharp(rgb, { raw: { width: 90, height: 70, channels: 3 } })
            .png()
            .toBuffer()
        }),
      )
      const joined = sharp(frames, { join: { animated: true } })
      const file =
        format === 'png' ? animated(frames) : await joined[format]({ delay: [100, 100, 100, 100] }).toBuffer()
      const request = { pages: 'all', longestEdge: 17 }
      const pixels = await pixelsOf(await loadOne(dataUrl(file), request))
      for (const needed of [[2], [1, 2], [0, 3]]) {
        const { images } = await loadOne(dataUrl(file), request)
        for (const [index, image] of images.entries()) if (!needed.includes(index)) image.letGo()
        for (const index of needed)
          expect(Buffer.from((await images[index]?.decode()) ?? []).toString('base64')).toBe(pixels[index])
      }
    },
  )

  it('is known whatever its media type, and as the same image however its base64 is written', async () => {
    const bytes = await fresh()
    const first = await loadOne(dataUrl(bytes))
    decodes.mockClear()
    for (const url of [dataUrl(bytes, 'image/jpeg'), dataUrl(bytes, ''), bytes.toString('base64')])
      expect(factsOf(await loadOne(url))).toEqual(factsOf(first))
    expect(pagesDecoded()).toEqual([])
    const base64 = bytes.toString('base64')
    const written = [base64.replace(/.{20}/g, '$&\n'), base64.replace('A', '%41'), bytes.toString('base64url')]
    for (const text of [...written, ...written])
      expect(factsOf(await loadOne(`data:image/png;base64,${text}`))).toEqual(factsOf(first))
    expect(pagesDecoded()).toHaveLength(3)
  })

  it('is another one for another selection, another size, and another isolation key', async () => {
    const pdf = dataUrl(plainPdf(2))
    const requests: Request[] = [{ pages: '1' }, { pages: '2' }, { longestEdge: 100, pages: '1' }]
    requests.push({ isolation: 'another', pages: '1' }, { isolation: '', pages: '1' })
    for (const request of [...requests, ...requests]) await loadOne(pdf, request)
    expect(pagesDecoded()).toEqual(['1', '2', '1', '1', '1'])
  })

  it('is forgotten with the cache', async () => {
    const file = dataUrl(await fresh())
    const own = open()
    for (let time = 0; time < 2; time++) {
      await loadOne(file, { from: own })
      await own.clearCache()
    }
    expect(pagesDecoded()).toHaveLength(2)
    await own.close()
  })
})

describe('a file by URL that comes again', () => {
  let host: Server
  let origin: string
  const served = new Map<string, Buffer>()
  beforeAll(async () => {
    host = createServer(({ url = '' }, response) => response.end(served.get(url)))
    await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve))
    origin = `http://127.0.0.1:${(host.address() as AddressInfo).port}`
  })
  afterAll(() => void host.close())

  it('is known by what the URL has now', async () => {
    const [before, after] = [await fresh(20, 30), await fresh(50, 20)]
    const widths: (number | undefined)[] = []
    for (const file of [before, before, after, after, before]) {
      served.set('/a', file)
      widths.push((await loadOne(`${origin}/a`)).images[0]?.width)
    }
    expect(widths).toEqual([20, 20, 50, 50, 20])
    expect(pagesDecoded()).toHaveLength(2)
  })

  it('is decoded again from the bytes that were fetched for this request', async () => {
    const [before, after] = [await fresh(), await fresh()]
    served.set('/b', before)
    const pixels = await pixelsOf(await loadOne(`${origin}/b`))
    const again = await loadOne(`${origin}/b`)
    served.set('/b', after)
    expect(await pixelsOf(again)).toEqual(pixels)
  })

  it('counts as memory until its images are let go', async () => {
    const noise = Buffer.from(Array.from({ length: 120 * 100 * 3 }, (_, at) => (at * at * 31 + made) & 255))
    const file = await sharp(noise, { raw: { width: 120, height: 100, channels: 3 } })
      .jpeg({ quality: 100 })
      .toBuffer()
    served.set('/c', file)
    // Half of it is for one client.
    const narrow = open({ maxPixelsHeld: Math.ceil(file.length / 3) * 3 })
    const url = `${origin}/c`
    const gone = new AbortController()
    await loadOne(url, { from: narrow, signal: gone.signal })
    gone.abort()
    const known = await loadOne(url, { from: narrow })
    const refusal = { code: 'too_many_pixels', param: 'images[0]' }
    await expect(loadOne(url, { from: narrow })).rejects.toMatchObject(refusal)
    known.images[0]?.letGo()
    expect((await loadOne(url, { from: narrow })).images).toHaveLength(1)
    await narrow.close()
  })
})

describe('what is refused is refused alike at the second sight', () => {
  const refusals: [what: string, urls: () => Promise<string[]>, request?: Request][] = [
    ['data that is no image', async () => [dataUrl(Buffer.from('{"a": 1}'))]],
    ['a damaged image', async () => [dataUrl((await shape('red')).subarray(0, 200))]],
    ['base64 with a wrong character', async () => [`${dataUrl(await fresh())}*`]],
    ['a URL without ;base64', async () => [dataUrl(await fresh()).replace(';base64', '')]],
    ['a page that does not exist', async () => [dataUrl(plainPdf(2))], { pages: '3' }],
    ['too many pages', async () => [dataUrl(plainPdf(4))]],
    ['too many pages with another file', async () => [dataUrl(plainPdf(3)), dataUrl(await fresh())]],
    ['too many pixels', async () => [dataUrl(await fresh(200, 200))]],
  ]
  const strict = open({ maxImages: 3, maxPixels: 30_000 })
  afterAll(() => strict.close())
  it.for(refusals)('%s', async ([, urlsOf, request]) => {
    const urls = await urlsOf()
    const refused = async () =>
      load(urls, { ...request, from: strict }).catch((error: object) => ({ ...error, message: String(error) }))
    const first = await refused()
    expect(first).toMatchObject({ param: expect.stringMatching(/^images/), code: expect.any(String) })
    expect(await refused()).toEqual(first)
    // What is good about the request is known now.
    for (const url of urls) await load([url], { ...request, from: strict }).catch(() => {})
    expect(await refused()).toEqual(first)
  })

  it('pixels and images of the whole request', async () => {
    const files = await Promise.all([1, 2, 3, 4].map(async () => dataUrl(await fresh(100, 100))))
    const narrow = open({ maxTotalPixels: 30_000 })
    for (const file of files) await loadOne(file, { from: narrow })
    decodes.mockClear()
    await expect(load(files, { from: narrow })).rejects.toMatchObject({
      code: 'images_too_large',
      param: 'images[3]',
      message: expect.stringContaining('40000 pixels up to and including this one; at most 30000'),
    })
    expect(await load(files.slice(1), { from: narrow })).toHaveLength(3)
    expect(pagesDecoded()).toEqual([])
    await narrow.close()
  })

  it('an image that cannot be decoded any more names its part of the request', async () => {
    const file = dataUrl(await fresh())
    await loadOne(file)
    const own = new AbortController()
    const known = await loadOne(file, { signal: own.signal })
    decodes.mockRejectedValueOnce(Object.assign(new Error('broken')))
    await expect(known.images[0]?.decode()).rejects.toThrow('broken')
    const cancelled = await loadOne(file, { signal: own.signal })
    own.abort()
    await expect(cancelled.images[0]?.decode()).rejects.toMatchObject({ kind: 'cancelled', param: 'images[0]' })
  })
})
