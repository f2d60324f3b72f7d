import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { platform, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { openWithFfmpeg } from '../../src/media/decoder/recordings/ffmpeg.ts'
import { framesPerSecond, height, missingEncoder, numberIn, prepare, width } from './recordings.ts'

const missing = missingEncoder()
const skipNote = missing ? ' (skipped: ffmpeg is not installed)' : ''

vi.mock(import('node:os'), async (original) => {
  const os = await original()
  return { ...os, platform: vi.fn(os.platform) }
})

const video = { kind: 'video', sound: false } as const

let folder: string
let make: ReturnType<typeof prepare>
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/recordings-`)
  if (!missing) make = prepare(folder)
})
afterAll(() => rmSync(folder, { recursive: true }))

const { TMPDIR } = process.env
afterEach(() => {
  vi.mocked(platform).mockRestore()
  if (TMPDIR === undefined) delete process.env.TMPDIR
  else process.env.TMPDIR = TMPDIR
})

describe.skipIf(missing)(`the ffmpeg of the system${skipNote}`, () => {
  it('finds the frames of a broadcast, which begins between two key frames', async () => {
    const whole = make('broadcast.ts', '-c:v libx264 -pix_fmt yuv420p -g 25 -sc_threshold 0 -an')
    const part = whole.subarray(188 * Math.floor(whole.length / 188 / 20))
    const recording = await openWithFfmpeg(part, 'mpegts', video)
    const numbers: number[] = []
    for await (const rgb of recording?.frames([0, 1, 2, 3], { width, height }) ?? [])
      numbers.push(numberIn(rgb, { width, height }))
    recording?.close()
    // What comes before the first key frame has times and no frames.
    expect(numbers[0]).toBe(25)
    const [, second = 0, ...later] = numbers
    expect(later).toEqual([second + framesPerSecond, second + 2 * framesPerSecond])
  })

  it('finds the frames of a late part', async () => {
    const whole = make('late.mkv', '-c:v libx264 -pix_fmt yuv420p -bf 2 -g 10 -sc_threshold 0 -c:a ac3')
    const recording = await openWithFfmpeg(whole, 'mkv', { ...video, sound: true })
    const numbers: number[] = []
    for await (const rgb of recording?.frames([3, 3.5], { width, height }) ?? [])
      numbers.push(numberIn(rgb, { width, height }))
    recording?.close()
    expect(numbers).toEqual([75, 87])
  })

  it('reads a file by its name where a descriptor cannot be opened again, and removes it afterwards', async () => {
    const own = temporary('named')
    vi.mocked(platform).mockReturnValue('darwin')
    vi.resetModules()
    const onMac = await import('../../src/media/decoder/recordings/ffmpeg.ts')
    const recording = await onMac.openWithFfmpeg(make('named.mkv', '-c:v mpeg4 -q:v 2 -an'), 'mkv', video)
    const [inside = ''] = readdirSync(own)
    expect(statSync(join(own, inside)).mode & 0o777).toBe(0o700)
    expect(statSync(join(own, inside, 'file')).mode & 0o777).toBe(0o600)
    for await (const rgb of recording?.frames([1], { width, height }) ?? [])
      expect(numberIn(rgb, { width, height })).toBe(framesPerSecond)
    recording?.close()
    expect(readdirSync(own)).toEqual([])
  })

  it('leaves nothing behind when the file cannot be written, and says that it is the fault of the server', async () => {
    const failure = { kind: 'internal', code: 'no_temporary_file' }
    // The name of a folder in it is just short enough, and the name of a file is too long.
    const limit = 4095
    const parent = temporary('full')
    const parts = Array.from({ length: 20 }, () => 'x'.repeat(250)).join('/')
    const deep = `${parent}/${parts}`.slice(0, limit - '/oriel-XXXXXX'.length)
    mkdirSync(deep, { recursive: true })
    process.env.TMPDIR = deep
    await expect(openWithFfmpeg(Buffer.alloc(9), 'mkv', video)).rejects.toMatchObject({
      ...failure,
      message: 'The server cannot store the video in a temporary file for ffmpeg (ENAMETOOLONG).',
    })
    expect(readdirSync(deep)).toEqual([])
    process.env.TMPDIR = join(folder, 'nowhere')
    await expect(openWithFfmpeg(Buffer.alloc(9), 'mkv', video)).rejects.toMatchObject(failure)
  })
})

/** A folder for temporary files that holds nothing else. */
function temporary(name: string): string {
  const made = join(folder, name)
  mkdirSync(made)
  process.env.TMPDIR = made
  return made
}
