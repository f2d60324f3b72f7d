import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { shape } from '../support/pictures.ts'
import { bombs, burdened } from './bombs.ts'
import { openMedia } from './media.ts'

/** Of this process' decoders. */
const decoders = (): number[] =>
  execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes('decoder/process.ts'))
    .map((line) => Number.parseInt(line, 10))

describe.skipIf(process.platform !== 'linux')('bombs', () => {
  const media = openMedia({ decoders: 1 })
  afterAll(() => media.close())
  /** Kilobytes: now, or the most since `forget`. */
  const memory = (what: 'VmRSS' | 'VmHWM'): number =>
    Number(new RegExp(`${what}:\\s+(\\d+)`).exec(readFileSync(`/proc/${decoders()[0]}/status`, 'utf8'))?.[1])
  const forget = () => writeFileSync(`/proc/${decoders()[0]}/clear_refs`, '5')

  beforeAll(async () => {
    const picture = await shape('red', 'circle', 64)
    for (const format of ['png', 'jpeg', 'gif', 'tiff', 'webp', 'avif'] as const)
      await media.loadOne(await sharp(picture).toFormat(format).toBuffer())
  })

  /** What a file costs, from the request to the answer. */
  async function costOf(file: Buffer): Promise<{ ms: number; megabytes: number; outcome: string }> {
    forget()
    const before = memory('VmRSS')
    const start = performance.now()
    const outcome = await media.loadOne(file).then(
      ({ pictures }) => `${pictures.length} picture`,
      (error: Error) => error.message,
    )
    const ms = performance.now() - start
    return { ms, megabytes: (memory('VmHWM') - before) / 1000, outcome }
  }

  it.for([...bombs, ...burdened])('%s', async ([what, make]) => {
    const file = make()
    // So many bytes of nothing: what it takes to bring them there.
    const bare = await costOf(Buffer.alloc(file.length, 'x'))
    const { ms, megabytes, outcome } = await costOf(file)
    const beyond = `${(ms - bare.ms).toFixed(0)} ms beyond the ${bare.ms.toFixed(0)} ms of its ${file.length} bytes`
    console.log(`${what}: ${beyond}, ${megabytes.toFixed(0)} MB. ${outcome}`)
    // 50 and 50 on a machine that does nothing else.
    expect(ms).toBeLessThan(1000)
    expect(megabytes).toBeLessThan(64)
    if (bombs.some(([name]) => name === what)) expect(outcome).toMatch(/too large|more than 5000|cannot be/)
  })
})

describe.skipIf(process.platform === 'win32')('a decoder that dies or hangs', () => {
  const media = openMedia({ decoders: 2, decodeTimeoutMs: 6000, maxBase64Bytes: 50_000_000 })
  let small: Buffer
  let large: Buffer
  beforeAll(async () => {
    small = await shape('red', 'circle', 64)
    // Long enough in decoding to be met there.
    const noise = { type: 'gaussian', mean: 128, sigma: 60 } as const
    const create = { width: 1900, height: 1900, channels: 3, background: 'white', noise } as const
    large = await sharp({ create }).png({ compressionLevel: 1 }).toBuffer()
  })
  afterAll(() => media.close())

  it('takes only its own picture with it, and another takes its place', async () => {
    await Promise.all([media.loadOne(small), media.loadOne(small)])
    const both = Promise.allSettled([media.loadOne(large), media.loadOne(large)])
    const [victim = 0] = decoders()
    setTimeout(() => process.kill(victim, 'SIGKILL'), 20)
    const results = await both
    const failed = results.filter(({ status }) => status === 'rejected')
    expect(failed).toMatchObject([{ reason: { kind: 'unreadable_media', code: 'invalid_image' } }])
    expect((await Promise.all([media.loadOne(small), media.loadOne(small), media.loadOne(small)])).length).toBe(3)
  })

  it('is given up after the time that a file may take', async () => {
    await Promise.all([media.loadOne(small), media.loadOne(small)])
    for (const pid of decoders()) process.kill(pid, 'SIGSTOP')
    await expect(media.loadOne(small)).rejects.toMatchObject({ code: 'image_decode_timeout', message: /6000 ms/ })
    await expect(media.loadOne(small)).rejects.toMatchObject({ code: 'image_decode_timeout' })
    expect((await media.loadOne(small)).pictures).toHaveLength(1)
  })
})

describe.skipIf(process.platform === 'win32')('a small file that takes long', () => {
  const create = { width: 400, height: 400, channels: 3, background: 'white' } as const
  /** With one decoder, which has started. */
  async function open(decodeTimeoutMs: number) {
    const others = decoders()
    const media = openMedia({ decodeTimeoutMs, maxImages: 300 })
    await media.loadOne(small)
    return { media, decoder: () => decoders().find((pid) => !others.includes(pid)) }
  }
  /** The last frame, which is drawn from the first on each time: a tenth of a second, and half a minute in all. */
  const again = Array(300).fill('150').join()
  let small: Buffer
  let slow: Buffer
  beforeAll(async () => {
    small = await shape('red', 'circle', 64)
    const still = await sharp({ create }).gif().toBuffer()
    const head = 13 + 3 * 2 ** (((still[10] ?? 0) & 7) + 1)
    const frame = still.subarray(head, -1)
    slow = Buffer.concat([still.subarray(0, head), Buffer.alloc(150 * frame.length, frame), still.subarray(-1)])
  })

  it('has one time for all of its frames', async () => {
    const { media } = await open(3000)
    await expect(media.loadOne(slow, again, 64)).rejects.toMatchObject({ code: 'image_decode_timeout' })
    await media.close()
  })

  it('stops soon when nobody waits for it any more, and others have their turn', async () => {
    const { media, decoder } = await open(60_000)
    const pid = decoder()
    const gone = new AbortController()
    const loading = media.loadOne(slow, again, 64, gone.signal)
    setTimeout(() => gone.abort(), 500)
    await expect(loading).rejects.toMatchObject({ kind: 'cancelled' })
    expect(decoder()).toBe(pid)
    await vi.waitFor(() => expect(decoder()).not.toBe(pid), { timeout: 5000, interval: 100 })
    expect((await media.loadOne(small)).pictures).toHaveLength(1)
    await media.close()
  })

  it('keeps its decoder where it is done by then', async () => {
    const { media, decoder } = await open(60_000)
    const pid = decoder()
    const gone = new AbortController()
    const loading = media.loadOne(small, undefined, 4096, gone.signal)
    gone.abort()
    await expect(loading).rejects.toMatchObject({ kind: 'cancelled' })
    await media.loadOne(small)
    await new Promise((resolve) => setTimeout(resolve, 1500))
    expect(decoder()).toBe(pid)
    await media.close()
  })
})
