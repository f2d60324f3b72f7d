import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
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
  const media = openMedia({ decoders: 2, decodeTimeoutMs: 3000, maxBase64Bytes: 50_000_000 })
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

  it('is given up after the time that a picture may take', async () => {
    await Promise.all([media.loadOne(small), media.loadOne(small)])
    for (const pid of decoders()) process.kill(pid, 'SIGSTOP')
    await expect(media.loadOne(small)).rejects.toMatchObject({ code: 'image_decode_timeout', message: /3000 ms/ })
    await expect(media.loadOne(small)).rejects.toMatchObject({ code: 'image_decode_timeout' })
    expect((await media.loadOne(small)).pictures).toHaveLength(1)
  })
})
