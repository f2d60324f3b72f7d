import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openWithFfmpeg } from '../../src/media/decoder/recordings/ffmpeg.ts'
import { framesPerSecond, height, missingEncoder, numberIn, prepare, width } from './recordings.ts'

const missing = missingEncoder()
const skipNote = missing ? ' (skipped: ffmpeg is not installed)' : ''

let folder: string
let make: ReturnType<typeof prepare>
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/recordings-`)
  if (!missing) make = prepare(folder)
})
afterAll(() => rmSync(folder, { recursive: true }))

describe.skipIf(missing)(`the ffmpeg of the system${skipNote}`, () => {
  it('finds the frames of a broadcast, which begins between two key frames', async () => {
    const whole = make('broadcast.ts', '-c:v libx264 -pix_fmt yuv420p -g 25 -sc_threshold 0 -an')
    const part = whole.subarray(188 * Math.floor(whole.length / 188 / 20))
    const recording = await openWithFfmpeg(part, 'mpegts', 'video')
    const numbers: number[] = []
    for await (const rgb of recording?.frames([0, 1, 2, 3], { width, height }) ?? [])
      numbers.push(numberIn(rgb, { width, height }))
    recording?.close()
    // What comes before the first key frame has times and no frames.
    expect(numbers[0]).toBe(25)
    const [, second = 0, ...later] = numbers
    expect(later).toEqual([second + framesPerSecond, second + 2 * framesPerSecond])
  })
})
