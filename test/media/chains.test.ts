import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/load-config.ts'
import { linksOf } from '../../src/media/decoder/recordings/chain.ts'
import { openWithFfmpeg } from '../../src/media/decoder/recordings/ffmpeg.ts'
import { createMedia } from '../../src/media/index.ts'
import { dataUrl } from '../support/images.ts'
import { inputs } from '../support/long.ts'
import { likeTone, missingEncoder, prepare } from './recordings.ts'

const missing = missingEncoder()
/** Nothing but the packages decodes. */
const media = createMedia({ ...loadConfig({}, {}).media, decoders: 1, ffmpeg: '/nowhere/ffmpeg' })
let folder: string
let make: ReturnType<typeof prepare>
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/oriel-chains-`)
  if (!missing) make = prepare(folder)
})
afterAll(async () => {
  await media.close()
  rmSync(folder, { recursive: true })
})

async function samplesOf(file: Buffer, clip = {}): Promise<Float32Array> {
  const [loaded] = await media.load(
    [{ kind: 'audio', url: dataUrl(file), param: 'audio', clip }],
    { client: 'one', isolation: randomUUID() },
    { longestEdge: 64, sound: true },
    new AbortController().signal,
  )
  if (loaded?.kind !== 'audio') throw new Error('it is no audio')
  return loaded.sound.decode()
}

/** Two seconds of the tone. */
const part = (name: string, args: string): Buffer => make(name, `-vn -t 2 ${args}`)
/** Each half is the tone from its beginning. Its end may have been cut by a codec. */
function expectTwice(samples: Float32Array): void {
  expect(Math.abs(samples.length / 16_000 - 4)).toBeLessThan(0.2)
  const second = samples.length / 2 + 1000
  for (const half of [samples.subarray(0, 29_000), samples.subarray(second, second + 28_000)])
    expect(likeTone(half, 0.12).best).toBeGreaterThan(0.99)
}

const kinds = [
  { ending: 'mp3', args: '-c:a libmp3lame' },
  { ending: 'aac', args: '-c:a aac' },
  { ending: 'flac', args: '-c:a flac' },
  { ending: 'ogg', args: '-c:a libopus' },
  { ending: 'flac.ogg', args: '-c:a flac' },
  { ending: 'vorbis.ogg', args: '-c:a libvorbis' },
]

const tracks: { ending: string; args: string; to: 'mkv' | 'mp4' }[] = [
  { ending: 'mp3', args: '-c:a libmp3lame', to: 'mkv' },
  { ending: 'aac', args: '-c:a aac', to: 'mp4' },
  { ending: 'mp3', args: '-c:a libmp3lame', to: 'mp4' },
  { ending: 'flac', args: '-c:a flac', to: 'mkv' },
]

describe.skipIf(missing)('sound that changes in the middle', () => {
  it.for(inputs(kinds.slice(2, 3), kinds))('of files in a row: .$ending', async ({ ending, args }) => {
    const stereo = part(`stereo.${ending}`, args)
    const mono = part(`mono.${ending}`, `${args} -ac 1`)
    const otherRate = part(`slow.${ending}`, `${args} -ar 24000`)
    for (const pair of [
      [stereo, mono],
      [mono, stereo],
      [stereo, otherRate],
    ])
      expectTwice(await samplesOf(Buffer.concat(pair)))
  })

  it('a clip may begin in one file of a row and end in the next one', async () => {
    const [stereo, mono] = [part('stereo.ogg', '-c:a libopus'), part('mono.ogg', '-c:a libopus -ac 1')]
    const clip = await samplesOf(Buffer.concat([stereo, mono]), { start: 1, end: 3.5 })
    expect(clip.length).toBe(40_000)
    expect(likeTone(clip.subarray(16_000), 0.05).best).toBeGreaterThan(0.99)
  })

  it('a file with one damaged frame is one file, and one of endless changes too', () => {
    const mp3 = part('stereo.mp3', '-c:a libmp3lame')
    const mono = part('mono.mp3', '-c:a libmp3lame -ac 1')
    expect(linksOf(Buffer.concat([mp3, mono]), 'mp3')).toHaveLength(2)
    const [once] = linksOf(Buffer.concat([mp3, mono.subarray(0, 1200), mp3]), 'mp3')
    expect(once?.length).toBeGreaterThan(2 * mp3.length)
    const flac = Buffer.from('fLaC\0\0\0\x22', 'latin1')
    expect(linksOf(Buffer.concat(Array(100).fill(flac)), 'flac')).toHaveLength(1)
  })

  it.for(inputs(tracks.slice(0, 1), tracks))(
    'of packets in one track: $ending in $to',
    async ({ ending, args, to }) => {
      const names = [`stereo.${ending}`, `mono.${ending}`]
      part(`stereo.${ending}`, args)
      part(`mono.${ending}`, `${args} -ac 1`)
      for (const order of [names, names.toReversed()]) {
        writeFileSync(path.join(folder, 'list'), order.map((name) => `file ${name}\n`).join(''))
        const joined = make(
          `row.${to}`,
          `-f concat -i list -map 1 -vn -c copy ${ending === 'aac' ? '-bsf:a aac_adtstoasc' : ''}`.trim(),
        )
        expectTwice(await samplesOf(joined))
        // It decodes one channel of two for the other one of AAC.
        if (ending === 'aac') continue
        const byFfmpeg = await openWithFfmpeg(joined, to, { kind: 'audio', sound: true })
        if (byFfmpeg === null) throw new Error('ffmpeg is not there')
        expectTwice(await byFfmpeg.sound(0, byFfmpeg.seconds))
        byFfmpeg.close()
      }
    },
  )
})
