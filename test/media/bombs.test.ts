import { readFileSync, writeFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { deferred } from '../../src/deferred.ts'
import { Costs } from '../../src/fairness.ts'
import { loadConfig } from '../../src/load-config.ts'
import type { FileToDecode } from '../../src/media/decoder/decoder-process.ts'
import { DecoderPool } from '../../src/media/decoder/pool.ts'
import { childrenRunning } from '../support/children.ts'
import { shape } from '../support/images.ts'
import { shortRun } from '../support/long.ts'
import { animated } from './apng.ts'
import { bombs, burdened, chunk, png, swollenPdf } from './bombs.ts'
import { openMedia } from './media.ts'

const decoders = (): number[] => childrenRunning('decoder-process').map(({ pid }) => pid)

describe.skipIf(process.platform !== 'linux')('decompression bombs', () => {
  const media = openMedia({ decoders: 1 })
  afterAll(() => media.close())
  /** Kilobytes: now, or the maximum since `resetPeak`. */
  const memory = (what: 'VmRSS' | 'VmHWM'): number =>
    Number(new RegExp(`${what}:\\s+(\\d+)`).exec(readFileSync(`/proc/${decoders()[0]}/status`, 'utf8'))?.[1])
  const resetPeak = () => writeFileSync(`/proc/${decoders()[0]}/clear_refs`, '5')
  /** CPU time of the decoder in ms, which does not depend on what else the machine does. */
  const cpuMs = (): number => {
    const [, fields = ''] = readFileSync(`/proc/${decoders()[0]}/stat`, 'utf8').split(') ')
    const [user = 0, system = 0] = fields.split(' ').slice(11, 13).map(Number)
    return (user + system) * 10
  }

  beforeAll(async () => {
    const image = await shape('red', 'circle', 64)
    for (const format of ['png', 'jpeg', 'gif', 'tiff', 'webp', 'avif'] as const)
      await media.loadOne(await sharp(image).toFormat(format).toBuffer())
  })

  /** The decoder's CPU time and memory for one file. */
  async function costOf(file: Buffer, pages?: string): Promise<{ ms: number; megabytes: number; outcome: string }> {
    resetPeak()
    const before = memory('VmRSS')
    const start = cpuMs()
    const outcome = await media.loadOne(file, pages).then(
      ({ images }) => `${images.length} image`,
      (error: Error) => error.message,
    )
    return { ms: cpuMs() - start, megabytes: (memory('VmHWM') - before) / 1000, outcome }
  }

  it.for(bombs)('refuses %s at little cost', async ([, make]) => {
    const { ms, megabytes, outcome } = await costOf(make())
    expect(outcome).toMatch(/too large|more than 5000|cannot be decoded/)
    expect(ms).toBeLessThan(1000)
    expect(megabytes).toBeLessThan(64)
  })

  it.for(burdened)('reads %s, or refuses it, at little cost', async ([, make]) => {
    const { ms, megabytes, outcome } = await costOf(make())
    expect(outcome).toMatch(/^1 image$|cannot be decoded/)
    expect(ms).toBeLessThan(1000)
    expect(megabytes).toBeLessThan(64)
  })

  it('stops a page that unpacks to more memory than an image may take, and decodes the next file', async () => {
    const file = swollenPdf(900)
    expect(file.length).toBeLessThan(20_000)
    await expect(media.loadOne(file)).rejects.toMatchObject({
      kind: 'unreadable_media',
      code: 'image_needs_memory',
      // Of 200 x 200 pixels.
      message: 'The image cannot be decoded: it takes more than 601120000 bytes of memory, the limit for one file.',
    })
    expect((await media.loadOne(swollenPdf(1))).images).toHaveLength(1)
  })

  it('draws the frames of an animated png without reading its text for each of them', async () => {
    const frames = Array.from({ length: 100 }, () => png(64, 64))
    const { ms, outcome } = await costOf(animated(frames, chunk('tEXt', Buffer.alloc(6_000_000, 'a'))), '100')
    expect(outcome).toBe('1 image')
    expect(ms).toBeLessThan(1000)
  })
})

describe.skipIf(process.platform === 'win32')('a decoder that crashes or hangs', () => {
  const options = { wanted: { kind: 'image' as const, pages: null, longestEdge: 64 }, mostPages: 1 }
  const forever = new AbortController().signal
  let file: FileToDecode
  beforeAll(async () => {
    file = { payload: await shape('red', 'circle', 64), options }
  })
  /** Decodes two files with two decoders. `whenBoth` runs while both hold their file and wait for admission. */
  async function decodeTwo(pool: DecoderPool, whenBoth: () => void) {
    const [bothWait, goOn] = [deferred<void>(), deferred<void>()]
    let waiting = 0
    const admit = async () => {
      if (++waiting === 2) bothWait.resolve()
      await goOn.promise
      return () => {}
    }
    const both = Promise.allSettled([
      pool.decode('one', file, admit, forever),
      pool.decode('one', file, admit, forever),
    ])
    await bothWait.promise
    whenBoth()
    goOn.resolve()
    return await both
  }

  it.for([
    ['SIGSEGV', { kind: 'unreadable_media', code: 'invalid_image' }],
    // Somebody else has sent it: the image is not to blame.
    ['SIGKILL', { kind: 'overloaded', code: 'decoder_stopped', retryAfter: 1 }],
  ] as const)('fails only its own image after %s, and is replaced', async ([signal, reason]) => {
    const others = decoders()
    const pool = new DecoderPool({ ...loadConfig({}, {}).media, decoders: 2 }, new Costs(), undefined)
    const results = await decodeTwo(pool, () => {
      const [victim = 0] = decoders().filter((pid) => !others.includes(pid))
      process.kill(victim, signal)
    })
    const failed = results.filter(({ status }) => status === 'rejected')
    expect(failed).toMatchObject([{ reason }])
    for (const result of await decodeTwo(pool, () => {}))
      expect(result).toMatchObject({ status: 'fulfilled', value: { parts: [{ head: { width: 64, height: 64 } }] } })
    await pool.close()
  })

  it.skipIf(shortRun)('is killed after the time limit of a file, naming the limit', async () => {
    const others = decoders()
    const pool = new DecoderPool(
      { ...loadConfig({}, {}).media, decoders: 2, decodeTimeoutMs: 6000 },
      new Costs(),
      undefined,
    )
    const results = await decodeTwo(pool, () => {
      for (const pid of decoders()) if (!others.includes(pid)) process.kill(pid, 'SIGSTOP')
    })
    const reason = { code: 'image_decode_timeout', message: expect.stringMatching(/longer than 6000 ms/) }
    expect(results).toMatchObject([
      { status: 'rejected', reason },
      { status: 'rejected', reason },
    ])
    for (const { status } of await decodeTwo(pool, () => {})) expect(status).toBe('fulfilled')
    await pool.close()
  })
})

describe.skipIf(process.platform === 'win32')('a small file that takes long to decode', () => {
  const create = { width: 400, height: 400, channels: 3, background: 'white' } as const
  /** With one decoder, which has started. */
  async function open(decodeTimeoutMs: number) {
    const others = decoders()
    const media = openMedia({ decodeTimeoutMs, maxImages: 300 })
    await media.loadOne(small)
    const own = () => decoders().filter((pid) => !others.includes(pid))
    // A second one may have been started while the first was starting.
    await vi.waitFor(() => expect(own()).toHaveLength(1), { timeout: 10_000 })
    return { media, decoder: () => own()[0] }
  }
  /** The last frame 300 times. Each is drawn from the first frame on: a tenth of a second, half a minute in all. */
  const lastFrames = Array(300).fill('150').join()
  let small: Buffer
  let slow: Buffer
  beforeAll(async () => {
    small = await shape('red', 'circle', 64)
    const still = await sharp({ create }).gif().toBuffer()
    const head = 13 + 3 * 2 ** (((still[10] ?? 0) & 7) + 1)
    const frame = still.subarray(head, -1)
    slow = Buffer.concat([still.subarray(0, head), Buffer.alloc(150 * frame.length, frame), still.subarray(-1)])
  })

  it.skipIf(shortRun)('has one time limit for all its frames', async () => {
    const { media } = await open(3000)
    await expect(media.loadOne(slow, lastFrames, 64)).rejects.toMatchObject({ code: 'image_decode_timeout' })
    await media.close()
  })

  it.skipIf(shortRun)('does not delay the image of another client, and goes on with a lower priority', async () => {
    const { media, decoder } = await open(60_000)
    const pid = decoder()
    const stop = new AbortController()
    const loading = media.loadOne(slow, lastFrames, 64, stop.signal, 'many').catch((error: unknown) => error)
    const waiting = Array.from({ length: 5 }, () => media.loadOne(slow, lastFrames, 64, stop.signal, 'many'))
    for (const one of waiting) one.catch(() => {})
    for (let i = 0; i < 3; i++)
      expect((await media.loadOne(small, undefined, 64, undefined, 'few')).images).toHaveLength(1)
    if (process.platform === 'linux' && pid !== undefined)
      await vi.waitFor(() => expect(getPriority(pid)).toBe(15), { timeout: 50_000, interval: 100 })
    expect(await Promise.race([loading, 'going on'])).toBe('going on')
    stop.abort()
    expect(await loading).toMatchObject({ kind: 'cancelled' })
    await media.close()
  })

  it.skipIf(shortRun)('is stopped soon after its request was cancelled, and other files are decoded', async () => {
    const { media, decoder } = await open(60_000)
    const pid = decoder()
    const controller = new AbortController()
    const loading = media.loadOne(slow, lastFrames, 64, controller.signal)
    setTimeout(() => controller.abort(), 500)
    await expect(loading).rejects.toMatchObject({ kind: 'cancelled' })
    expect(decoder()).toBe(pid)
    await vi.waitFor(() => expect(decoder()).not.toBe(pid), { timeout: 50_000, interval: 100 })
    expect((await media.loadOne(small)).images).toHaveLength(1)
    await media.close()
  })

  it('does not cost the decoder if it is finished within the grace period', async () => {
    const { media, decoder } = await open(60_000)
    const pid = decoder()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const controller = new AbortController()
      const loading = media.loadOne(small, undefined, 4096, controller.signal)
      controller.abort()
      await expect(loading).rejects.toMatchObject({ kind: 'cancelled' })
      // There is one decoder, so the cancelled file is finished when this one is.
      await media.loadOne(small)
      await vi.advanceTimersByTimeAsync(5000)
    } finally {
      vi.useRealTimers()
    }
    await media.loadOne(small)
    expect(decoder()).toBe(pid)
    await media.close()
  })
})
