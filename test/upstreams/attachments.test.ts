import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { MediaConfig } from '../../src/config.ts'
import { loadConfig } from '../../src/load-config.ts'
import { type AttachmentSource, createMedia } from '../../src/media/index.ts'
import { type PreparedAttachment, prepare } from '../../src/upstreams/attachments.ts'
import { Characters, jsonBody } from '../../src/upstreams/body.ts'
import { type Readable, readableBy } from '../../src/upstreams/readable.ts'
import type { UpstreamApi, UpstreamSettings } from '../../src/upstreams/settings.ts'
import { corpus, make, missingEncoder, prepare as prepareCorpus } from '../media/corpus.ts'
import { plainPdf } from '../media/plain-pdf.ts'
import { missingEncoder as missingFfmpeg } from '../media/recordings.ts'
import { distance } from '../media/sources.ts'
import { inputs } from '../support/long.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-attachments-'))
const settings: Partial<MediaConfig> = { allowPrivate: ['127.0.0.1'], urlTimeoutMs: 5000, decoders: 2 }
const media = createMedia({ ...loadConfig({}, {}).media, ...settings })
afterAll(async () => {
  await media.close()
  rmSync(folder, { recursive: true, force: true })
})

const what = (api: UpstreamApi, more: Partial<UpstreamSettings> = {}): Readable =>
  readableBy({ api, models: null, fetchesUrls: false, ...more } as UpstreamSettings, 'model')

const model = { id: 'model', as: null, inputs: null, contextTokens: null }

type Sent = Buffer | string | (Omit<AttachmentSource, 'param' | 'url' | 'bytes' | 'loaded'> & { url: Buffer | string })
const urlOf = (file: Buffer | string) => (typeof file === 'string' ? file : `data:;base64,${file.toString('base64')}`)
const ask = (sent: readonly Sent[], readable: Readable, signal = new AbortController().signal) => {
  const attachments = sent.map((one, index) => {
    const { url, ...more } =
      typeof one === 'string' || Buffer.isBuffer(one) ? { url: one, kind: 'image' as const } : one
    return { ...more, url: urlOf(url), param: `attachments[${index}]`, detail: 'auto' as const }
  })
  return prepare({ attachments, client: 'one' }, readable, media, signal)
}
const filesOf = (prepared: readonly PreparedAttachment[]) =>
  prepared
    .flatMap(({ files }) => files)
    .map((file) => {
      if (file.url !== undefined) throw new Error('a URL where a file is expected')
      return { ...file, bytes: Buffer.from(file.base64.toString('latin1'), 'base64') }
    })
const one = async (sent: Sent, readable: Readable = what('vllm')) => {
  const [file, ...others] = filesOf(await ask([sent], readable))
  if (file === undefined || others.length > 0) throw new Error('not one file')
  return file
}

/** As a program reads it that knows nothing of orientation, and drops the alpha channel. */
async function naively(bytes: Buffer) {
  const { data, info } = await sharp(bytes)
    .removeAlpha()
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, rgb: new Uint8Array(data) }
}

const samePixels = async (one: Buffer, other: Buffer) =>
  Buffer.from((await naively(one)).rgb).equals((await naively(other)).rgb)

/** No two pixels are equal, as on a photograph. */
const photograph = (width: number, height: number) => {
  let seed = 1
  const rgb = Buffer.alloc(width * height * 3)
  for (let at = 0; at < rgb.length; at++) {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff
    rgb[at] = Math.floor((at / 3) % width) / 8 + ((seed >> 16) & 31)
  }
  return sharp(rgb, { raw: { width, height, channels: 3 } })
}
const screenshot = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: '#eee' } }).composite([
    { input: Buffer.from([0, 0, 0]), raw: { width: 1, height: 1, channels: 3 }, tile: false, left: 5, top: 9 },
  ])

const missing = missingEncoder()
describe.skipIf(missing !== undefined)(
  `every format and variant${missing === undefined ? '' : ` (skipped: ${missing} is not installed)`}`,
  () => {
    beforeAll(() => prepareCorpus(folder))

    // Which of them are decoded is another test's business: of each kind of treatment there are some.
    const few =
      /^(png|jpeg|gif|tiff|pnm, P6|webp|avif, lossless|heic|bmp, 24-bit)(, (16-bit|alpha|arithmetic|YCCK|animated|palette with tRNS|EXIF orientation [16]))?$/
    it.for(
      inputs(
        corpus.filter(({ name }) => few.test(name)),
        corpus,
      ),
    )('$name: a simple program shows what we show', async (specimen) => {
      const file = await make(specimen, folder)
      const sent = await one(file, what('llama-server'))
      expect(['png', 'jpeg']).toContain(sent.format)
      expect(sent.type).toBe(`image/${sent.format}`)
      const { max, mean } = distance(await naively(sent.bytes), specimen.shows)
      expect(max).toBeLessThanOrEqual(specimen.within.max + 2)
      expect(mean).toBeLessThanOrEqual(specimen.within.mean + 0.5)
    })
  },
)

describe('a file that the upstream reads as we do', () => {
  const plain = {
    png: () => screenshot(300, 200).png().toBuffer(),
    jpeg: () => photograph(300, 200).jpeg().toBuffer(),
    webp: () => photograph(300, 200).webp().toBuffer(),
    gif: () => screenshot(300, 200).gif().toBuffer(),
  }
  it.for(Object.entries(plain))('%s goes on as it came', async ([format, write]) => {
    const file = await write()
    const sent = await one(file)
    expect(sent).toMatchObject({ format, type: `image/${format}` })
    expect(sent.bytes.equals(file)).toBe(true)
  })

  it('goes on with an alpha channel that hides nothing', async () => {
    const file = await screenshot(300, 200).ensureAlpha().png().toBuffer()
    expect((await one(file)).bytes.equals(file)).toBe(true)
  })

  it('goes on whichever base64 it came in', async () => {
    const file = await plain.jpeg()
    for (const url of [
      file.toString('base64url'),
      `data:image/heic;base64,${encodeURIComponent(file.toString('base64'))}`,
    ])
      expect((await one(url)).bytes.equals(file)).toBe(true)
  })

  it.for(['jpeg', 'png', 'webp'] as const)(
    '%s loses what was written about it, and keeps its pixels',
    async (format) => {
      const bare = await photograph(300, 200).toFormat(format).toBuffer()
      const file = await sharp(bare)
        .toFormat(format, { quality: 90 })
        .withExif({ IFD0: { Artist: 'somebody' }, IFD3: { GPSLatitude: '51/1 30/1 0/1' } })
        .withXmp('<x:xmpmeta xmlns:x="adobe:ns:meta/">somewhere</x:xmpmeta>')
        .withIccProfile('p3')
        .toBuffer()
      // Phones put a second picture or a video behind the end.
      const sent = await one(Buffer.concat([file, Buffer.from('the rest of a picture')]))
      expect(sent.format).toBe(format)
      const metadata = await sharp(sent.bytes).metadata()
      expect(metadata.exif ?? metadata.xmp).toBeUndefined()
      expect(metadata.icc).toBeDefined()
      for (const word of ['somebody', 'somewhere', 'the rest']) expect(sent.bytes.includes(word)).toBe(false)
      expect(await samePixels(sent.bytes, file)).toBe(true)
    },
  )
})

describe('a file that has to be written anew', () => {
  it('is exact for what was drawn, and JPEG for a photograph', async () => {
    const drawn = await screenshot(900, 700).tiff().toBuffer()
    const sent = await one(drawn)
    expect(sent.format).toBe('png')
    expect(await samePixels(sent.bytes, drawn)).toBe(true)
    expect((await one(await photograph(900, 700).tiff().toBuffer())).format).toBe('jpeg')
  })

  it('a truncated or damaged one is refused as without upstreams', async () => {
    const file = await photograph(300, 200).jpeg().toBuffer()
    await expect(one(file.subarray(0, file.length / 2))).rejects.toMatchObject({
      kind: 'unreadable_media',
      param: 'attachments[0]',
    })
    await expect(one(Buffer.from('<svg/>'))).rejects.toMatchObject({ kind: 'unsupported_media' })
  })

  it('an animation becomes its first frame, or the selected ones', async () => {
    const frames = await Promise.all(
      ['red', 'lime', 'blue'].map((background) =>
        sharp({ create: { width: 40, height: 30, channels: 3, background } })
          .raw()
          .toBuffer(),
      ),
    )
    const file = await sharp(Buffer.concat(frames), {
      raw: { width: 40, height: 90, channels: 3, pageHeight: 30 },
    })
      .gif()
      .toBuffer()
    const first = await one(file)
    expect(first.format).toBe('png')
    expect([...(await naively(first.bytes)).rgb.slice(0, 3)]).toEqual([255, 0, 0])
    const all = filesOf(await ask([{ kind: 'image', url: file, pages: 'all' }], what('vllm')))
    expect(await Promise.all(all.map(async ({ bytes }) => [...(await naively(bytes)).rgb.slice(0, 3)]))).toEqual([
      [255, 0, 0],
      [0, 255, 0],
      [0, 0, 255],
    ])
  })

  it('a PDF becomes its pages, as large as the model can use', async () => {
    const prepared = await ask(
      [{ kind: 'image', url: plainPdf(3) }, await screenshot(64, 64).png().toBuffer()],
      what('openai'),
    )
    expect(prepared.map(({ files }) => files.length)).toEqual([3, 1])
    const pages = await Promise.all(filesOf(prepared).map(({ bytes }) => sharp(bytes).metadata()))
    expect(pages.map(({ format, height }) => `${format} ${height}`)).toEqual([...Array(3).fill('png 2339'), 'png 64'])
    const models = [{ ...model, longestEdge: 1000 }]
    const small = filesOf(await ask([{ kind: 'image', url: plainPdf(1), pages: 1 }], what('openai', { models })))
    expect(await sharp(small[0]?.bytes).metadata()).toMatchObject({ height: 1000 })
  })
})

describe('limits of an upstream', () => {
  const edgeOf = async (bytes: Buffer) => {
    const { width = 0, height = 0 } = await sharp(bytes).metadata()
    return Math.max(width, height)
  }

  it('an image is shrunk to what the model can use', async () => {
    const models = [{ ...model, longestEdge: 500 }]
    const file = await photograph(1200, 900).jpeg().toBuffer()
    const sent = await one(file, what('vllm', { models }))
    expect(await sharp(sent.bytes).metadata()).toMatchObject({ format: 'jpeg', width: 500, height: 375 })
    expect(await edgeOf((await one(file)).bytes)).toBe(1200)
  })

  it('an image is shrunk to the bytes that the API takes', async () => {
    const file = await photograph(2600, 2000).png({ compressionLevel: 0 }).toBuffer()
    const source = (bytes: Buffer) => ({ kind: 'image' as const, bytes, param: 'image', detail: 'auto' as const })
    const { signal } = new AbortController()
    const reader = what('anthropic')
    const [sent] = filesOf(await prepare({ attachments: [source(file)], client: 'one' }, reader, media, signal))
    expect(file.length).toBeGreaterThan(5 * 2 ** 20)
    expect(sent?.base64.length).toBeLessThanOrEqual(5 * 2 ** 20)
    expect(await edgeOf(sent?.bytes ?? file)).toBe(2600)
    const tight = { ...reader, image: { ...reader.image, mostBytes: 20_000 } }
    const [smaller] = filesOf(await prepare({ attachments: [source(file)], client: 'one' }, tight, media, signal))
    expect(smaller?.bytes.length).toBeLessThanOrEqual(20_000)
    expect(await edgeOf(smaller?.bytes ?? file)).toBeGreaterThan(100)
  })

  it('images fit together: small ones stay as they are, and large ones share the rest', async () => {
    const small = await photograph(100, 100).jpeg().toBuffer()
    const large = await photograph(1000, 800).jpeg({ quality: 100 }).toBuffer()
    const most = small.length + large.length
    const prepared = filesOf(await ask([large, small, large.subarray(0)], { ...what('vllm'), mostBytesTogether: most }))
    expect(prepared.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBeLessThanOrEqual(most)
    expect(prepared[1]?.bytes.equals(small)).toBe(true)
    expect(await edgeOf(prepared[0]?.bytes ?? small)).toBeGreaterThan(400)
  })

  it('of more images than 20 each is smaller, where the API wants it', async () => {
    const wide = await screenshot(2400, 8).png().toBuffer()
    const others = await screenshot(9, 9).png().toBuffer()
    const edges = async (count: number) =>
      Promise.all(
        filesOf(await ask([wide, ...Array<Buffer>(count).fill(others)], what('anthropic'))).map(({ bytes }) =>
          edgeOf(bytes),
        ),
      )
    expect((await edges(19))[0]).toBe(2400)
    expect((await edges(20))[0]).toBe(2000)
  })
})

describe('a URL', () => {
  let url: string
  let fetched: string[]
  let file: Buffer
  const server = createServer((request, response) => {
    fetched.push(request.url ?? '')
    response.writeHead(200, { 'cache-control': 'no-store' }).end(file)
  })
  beforeAll(async () => {
    file = await photograph(300, 200).jpeg().toBuffer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    fetched = []
  })
  afterAll(() => server.close())

  it('is fetched once for a request, also if it is named twice or another upstream is asked', async () => {
    fetched = []
    const { signal } = new AbortController()
    const first = filesOf(await ask([`${url}/a.jpg`, `${url}/a.jpg`, `${url}/b.jpg`], what('openai'), signal))
    for (const { bytes } of first) expect(bytes.equals(file)).toBe(true)
    const models = [{ ...model, longestEdge: 100 }]
    const [second] = filesOf(await ask([`${url}/a.jpg`], what('vllm', { models }), signal))
    expect((await sharp(second?.bytes).metadata()).width).toBe(100)
    expect(fetched.toSorted()).toEqual(['/a.jpg', '/b.jpg'])
  })

  it('stays a URL for an upstream that fetches, unless it cannot read the file, or a part is wanted', async () => {
    fetched = []
    const readable = what('openai', { fetchesUrls: true })
    const urls = [`${url}/a.jpg`, `${url}/picture?id=1`]
    expect((await ask(urls, readable)).flatMap(({ files }) => files)).toEqual(urls.map((url) => ({ url })))
    expect(fetched).toEqual([])
    const prepared = await ask([`${url}/a.heic`, { kind: 'image', url: `${url}/a.jpg`, pages: 1 }], readable)
    expect(filesOf(prepared)).toHaveLength(2)
    expect(fetched.toSorted()).toEqual(['/a.heic', '/a.jpg'])
  })

  it('is not fetched from a forbidden place, and the error names its attachment', async () => {
    await expect(
      ask([await screenshot(9, 9).png().toBuffer(), 'http://10.0.0.1/a.png'], what('openai')),
    ).rejects.toMatchObject({
      param: 'attachments[1]',
      code: 'invalid_image_url',
    })
  })
})

const noFfmpeg = missingFfmpeg()
describe.skipIf(noFfmpeg)(`videos and audio${noFfmpeg ? ' (skipped: ffmpeg is not installed)' : ''}`, () => {
  const ffmpeg = (name: string, ...args: string[]): Buffer => {
    const file = path.join(folder, name)
    execFileSync('ffmpeg', ['-v', 'error', '-y', '-f', 'lavfi', '-i', ...args, file])
    return readFileSync(file)
  }
  let [video, avi, wav, ogg]: Buffer[] = []
  beforeAll(() => {
    video = ffmpeg('v.mp4', 'testsrc=duration=4:size=160x120:rate=5', '-pix_fmt', 'yuv420p')
    avi = ffmpeg('v.mpg.ts', 'testsrc=duration=1:size=160x120:rate=25', '-f', 'mpegts')
    wav = ffmpeg('a.wav', 'sine=frequency=440:duration=3')
    ogg = ffmpeg('a.ogg', 'sine=frequency=440:duration=3')
  })
  const recording = (kind: 'video' | 'audio', url: Buffer | undefined, more: Partial<AttachmentSource> = {}): Sent =>
    ({ kind, url: url ?? Buffer.alloc(0), ...more }) as Sent

  it('go on as they are where the API has a place for them', async () => {
    for (const api of ['vllm', 'fireworks', 'novita', 'sglang', 'llama-server', 'oriel'] as const) {
      const sent = await one(recording('video', video), what(api))
      expect(sent).toMatchObject({ format: 'mp4', type: 'video/mp4' })
      expect(sent.bytes.equals(video ?? Buffer.alloc(0))).toBe(true)
      expect((await one(recording('audio', wav), what(api))).bytes.equals(wav ?? Buffer.alloc(0))).toBe(true)
    }
  })

  it('are refused where it has none, with what it takes', async () => {
    await expect(one(recording('video', video), what('openai'))).rejects.toMatchObject({
      kind: 'invalid',
      message: 'The server that has the model takes no video. It takes images and audio.',
      param: 'attachments[0]',
    })
    await expect(one(recording('audio', wav), what('anthropic'))).rejects.toMatchObject({
      code: 'audio_not_supported',
      elsewhere: true,
    })
    await expect(one(recording('video', avi), what('novita'))).rejects.toMatchObject({
      kind: 'unsupported_media',
      message: 'The server that has the model does not read videos as mpegts. It reads mp4, mov.',
      elsewhere: true,
    })
    // Nobody reads it.
    const nothing = recording('video', Buffer.from('nothing'))
    await expect(one(nothing, what('novita'))).rejects.toMatchObject({ elsewhere: undefined })
  })

  it('a clip of a video becomes frames for an upstream that takes a list of them, and others refuse it', async () => {
    const clip = { clip: { start: 1, end: 3 }, frames: { perSecond: 2 } }
    const [list] = await ask([recording('video', video, clip)], what('vllm'))
    expect(list).toMatchObject({ kind: 'video', asFrames: true })
    const frames = list === undefined ? [] : filesOf([list])
    expect(frames).toHaveLength(4)
    for (const { bytes, type } of frames) {
      expect(type).toBe('video/jpeg')
      expect(await sharp(bytes).metadata()).toMatchObject({ width: 160, height: 120 })
    }
    await expect(one(recording('video', video, clip), what('fireworks'))).rejects.toMatchObject({
      code: 'selection_not_supported',
      elsewhere: true,
    })
    // It is told the clip.
    const whole = await one(recording('video', video, clip), what('oriel'))
    expect(whole.bytes.equals(video ?? Buffer.alloc(0))).toBe(true)
  })

  it('a list of frames stays one, with all of its frames', async () => {
    const frames = await Promise.all(Array.from({ length: 40 }, () => photograph(64, 48).jpeg().toBuffer()))
    const url = `data:video/jpeg;base64,${frames.map((frame) => frame.toString('base64')).join()}`
    const [list] = await ask([{ kind: 'video', url }], what('vllm'))
    expect(list?.asFrames).toBe(true)
    expect(list?.files).toHaveLength(40)
  })

  it('a sound becomes WAV of its clip, or where the upstream does not read its format', async () => {
    const seconds = (sent: Buffer) => (sent.length - 44) / 32_000
    const clip = await one(recording('audio', wav, { clip: { start: 1, end: 2 } }), what('openai'))
    expect(clip).toMatchObject({ format: 'wav', type: 'audio/wav' })
    expect(seconds(clip.bytes)).toBeCloseTo(1, 2)
    const anew = await one(recording('audio', ogg), what('openai'))
    expect(seconds(anew.bytes)).toBeCloseTo(3, 1)
    // A program that we did not write reads it.
    const file = path.join(folder, 'again.flac')
    execFileSync('ffmpeg', ['-v', 'error', '-y', '-i', 'pipe:0', file], { input: anew.bytes })
    expect(readFileSync(file).length).toBeGreaterThan(1000)
  })

  it('the length that media allows counts', async () => {
    const strict = createMedia({ ...loadConfig({}, {}).media, ...settings, maxRecordingSeconds: 2 })
    const attachments = [{ kind: 'audio' as const, url: urlOf(wav ?? ''), param: 'a', detail: 'auto' as const }]
    const { signal } = new AbortController()
    await expect(prepare({ attachments, client: 'one' }, what('openai'), strict, signal)).rejects.toMatchObject({
      code: 'audio_too_long',
      param: 'a',
    })
    await strict.close()
  })
})

describe('memory and time', () => {
  it('is let go when the request ends', async () => {
    const over = new AbortController()
    const prepared = await ask([await photograph(900, 700).jpeg().toBuffer()], what('openai'), over.signal)
    const [file] = prepared.flatMap(({ files }) => files)
    expect(file?.base64?.length).toBeGreaterThan(10_000)
    over.abort()
    expect(file?.base64?.length).toBe(0)
  })

  it('is bounded over all requests', async () => {
    const tight = createMedia({ ...loadConfig({}, {}).media, ...settings, maxPixelsHeld: 200_000 })
    const url = urlOf(await photograph(900, 700).jpeg({ quality: 100 }).toBuffer())
    const attachments = [{ kind: 'image' as const, url, param: 'a', detail: 'auto' as const }]
    const over = new AbortController()
    const asking = () => prepare({ attachments, client: 'one' }, what('openai'), tight, new AbortController().signal)
    await prepare({ attachments, client: 'one' }, what('openai'), tight, over.signal)
    await expect(asking()).rejects.toMatchObject({ kind: 'overloaded' })
    over.abort()
    await asking()
    await tight.close()
  })

  it('the event loop does not wait for 10 MB of a picture', async () => {
    const large = await photograph(3000, 1400).png({ compressionLevel: 0 }).toBuffer()
    const attachments = [{ kind: 'image' as const, bytes: large, param: 'a', detail: 'auto' as const }]
    const delay = monitorEventLoopDelay({ resolution: 1 })
    const { signal } = new AbortController()
    await ask([await screenshot(9, 9).png().toBuffer()], what('vllm'))
    delay.enable()
    const [prepared] = await prepare({ attachments, client: 'one' }, what('vllm'), media, signal)
    delay.disable()
    const [file] = prepared?.files ?? []
    expect(file?.base64?.length).toBeGreaterThan(12e6)
    const before = performance.now()
    const body = jsonBody({ model: 'm', url: new Characters('data:image/png;base64,', file?.base64 ?? '') })
    const bodyMs = performance.now() - before
    // What it takes on an idle machine is a fifth of it.
    expect(delay.max / 1e6).toBeLessThan(100)
    expect(bodyMs).toBeLessThan(100)
    expect(JSON.parse(body.toString()).url.length).toBe((file?.base64?.length ?? 0) + 22)
    process.stdout.write(`longest delay ${(delay.max / 1e6).toFixed(1)} ms, body ${bodyMs.toFixed(1)} ms\n`)
  })
})

describe('a body with files', () => {
  it('is the JSON that it would be with strings, whatever a client writes', () => {
    const text = 'quotes " and \\ and \u0001 and 😀 and %s $1'
    const value = { text, list: [{ url: 'data:image/png;base64,iVBOR' }, { url: 'AAAA' }, null, 1.5] }
    const characters = {
      ...value,
      list: [
        { url: new Characters('data:image/png;base64,', Buffer.from('iVBOR')) },
        { url: new Characters(Buffer.from('AAAA')) },
        null,
        1.5,
      ],
    }
    expect(jsonBody(characters).toString()).toBe(JSON.stringify(value))
  })
})
