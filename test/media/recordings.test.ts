import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { MediaConfig } from '../../src/config.ts'
import { OrielError } from '../../src/errors.ts'
import { loadConfig } from '../../src/load-config.ts'
import { type AttachmentSource, createMedia, cutWhereQuiet, type Loaded } from '../../src/media/index.ts'
import { dataUrl } from '../support/images.ts'
import { inputs, shortRun } from '../support/long.ts'
import { seeded } from '../support/mutate.ts'
import {
  framesPerSecond,
  height,
  likeTone,
  missingEncoder,
  numberIn,
  prepare,
  seconds,
  sounds,
  videos,
  width,
} from './recordings.ts'
import { damagedRecordings } from './recordings-damaged.ts'

const missing = missingEncoder()
const skipNote = missing ? ' (skipped: ffmpeg is not installed)' : ''

const open = (settings: Partial<MediaConfig> = {}) =>
  createMedia({ ...loadConfig({}, {}).media, decoders: 1, ...settings })
const media = open()
afterAll(() => media.close())

type Options = Pick<AttachmentSource, 'clip' | 'frames'> & { from?: typeof media; isolation?: string; sound?: boolean }

async function load(kind: 'video' | 'audio', file: Buffer | string, options: Options = {}): Promise<Loaded> {
  const { from = media, isolation = randomUUID(), sound = true, ...choice } = options
  const url = typeof file === 'string' ? file : dataUrl(file)
  const [loaded] = await from.load(
    [{ kind, url, param: kind, ...choice }],
    { client: 'one', isolation },
    { longestEdge: 1024, sound, video: { perSecond: 2, most: 64 } },
    new AbortController().signal,
  )
  if (loaded?.kind !== kind) throw new Error('nothing was loaded')
  return loaded
}
async function loadVideo(file: Buffer | string, options?: Options) {
  const loaded = await load('video', file, options)
  if (loaded.kind !== 'video') throw new Error('it is no video')
  return loaded
}
async function loadAudio(file: Buffer | string, options?: Options) {
  const loaded = await load('audio', file, options)
  if (loaded.kind !== 'audio') throw new Error('it is no audio')
  return loaded
}

let folder: string
let make: ReturnType<typeof prepare>
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/oriel-recordings-`)
  if (!missing) make = prepare(folder)
})
afterAll(() => rmSync(folder, { recursive: true }))

describe.skipIf(missing)(`videos of the corpus${skipNote}`, () => {
  it.for(inputs(videos.slice(0, 1).concat(videos.filter(({ name }) => /10-bit.mkv|vp9-opus.webm/.test(name))), videos))(
    '$name: the frame that is shown at each time, and the sound',
    async ({ name, args }) => {
      const { frames, sound, seconds: length } = await loadVideo(make(name, args))
      expect(length).toBeCloseTo(seconds, 1)
      expect(frames.map(({ time }) => time)).toEqual([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5])
      const found = await Promise.all(frames.map(async (frame) => numberIn(await frame.decode(), frame)))
      expect(found).toEqual(frames.map(({ time }) => Math.floor(time * framesPerSecond + 0.001)))
      for (const frame of frames) expect(frame).toMatchObject({ width, height, original: { width, height } })
      if (args.includes('-an')) return expect(sound).toBeNull()
      const { best, late } = likeTone((await sound?.decode()) ?? new Float32Array(), 0.05)
      expect(best).toBeGreaterThan(0.99)
      expect(Math.abs(late)).toBeLessThan(0.03)
    },
  )
})

describe.skipIf(missing)(`audio of the corpus${skipNote}`, () => {
  it.for(
    inputs(
      sounds.filter(({ name }) => /24-bit|5.1.wav|mp3.mp3|aac.m4a/.test(name)),
      sounds,
    ),
  )('$name: its samples', async ({ name, args, late = 5 }) => {
    const { sound } = await loadAudio(make(name, args))
    expect(sound.seconds).toBeGreaterThan(seconds - 0.05)
    expect(sound.seconds).toBeLessThan(seconds + 0.15)
    const like = likeTone(await sound.decode(), 0.12)
    expect(like.best).toBeGreaterThan(0.99)
    expect(Math.abs(like.late)).toBeLessThanOrEqual(late / 1000)
  })
})

describe.skipIf(missing)(`the length of a sound${skipNote}`, () => {
  it.for(['wav', 'mp3', 'ogg'])('is known before it is decoded, and may be refused then: %s', async (ending) => {
    const file = make(`refused.${ending}`, '-vn')
    const source = { kind: 'audio', url: dataUrl(file), param: 'file' } as const
    const told: number[] = []
    const loading = media.load(
      [source],
      { client: 'one', isolation: randomUUID() },
      {
        longestEdge: 1,
        async admitSound(of, { seconds, samples }) {
          expect([of, samples]).toEqual([source, Math.round(seconds * 16_000)])
          told.push(seconds)
          throw new OrielError('too_large', 'It is too long.', { param: 'prompt' })
        },
      },
      new AbortController().signal,
    )
    await expect(loading).rejects.toMatchObject({ message: 'It is too long.', param: 'prompt' })
    expect(told).toEqual([expect.closeTo(seconds, 0)])
  })

  it.for(['ogg', 'webm'])('may be all that is known of it: %s', async (ending) => {
    const kind = ending === 'ogg' ? 'audio' : 'video'
    const file = make(`length.${ending}`, kind === 'audio' ? '-vn' : '-c:v libvpx -c:a libopus')
    const ask = { longestEdge: 64, sound: true, admitSound: async () => false }
    const asker = { client: 'one', isolation: randomUUID() }
    const source = { kind, url: dataUrl(file), param: 'file' } as const
    const [loaded] = await media.load([source], asker, ask, new AbortController().signal)
    if (loaded === undefined || loaded.kind === 'image' || loaded.sound === null) throw new Error('there is no sound')
    expect(loaded.sound.seconds).toBeCloseTo(seconds, 0)
    await expect(loaded.sound.decode()).rejects.toThrow('only the length')
    if (loaded.kind === 'video') expect(loaded.frames[0]?.rgb?.length).toBeGreaterThan(0)
    // It is decoded for the next one who needs it.
    const [heard] = await media.load(
      [source],
      asker,
      { ...ask, admitSound: async () => true },
      new AbortController().signal,
    )
    if (heard === undefined || heard.kind === 'image') throw new Error('there is no sound')
    expect((await heard.sound?.decode())?.length).toBeGreaterThan(0)
  })

  it.for(['wav', 'ogg'])('is one sample at least, or the clip is refused: %s', async (ending) => {
    const file = make(`short.${ending}`, '-vn')
    for (const start of [0, 1])
      await expect(loadAudio(file, { clip: { start, end: start + 0.00001 } })).rejects.toMatchObject({
        kind: 'invalid',
        code: 'invalid_clip',
        message: expect.stringContaining('shorter than a sample: it begins at '),
      })
    expect((await loadAudio(file, { clip: { start: 1, end: 1.0001 } })).sound.samples).toBeGreaterThan(0)
  })

  it('with a gap has silence there, also in a clip or a stretch that is nothing else', async () => {
    const file = make('gap.mka', '-vn -af asetpts=PTS+gte(T\\,2)*90/TB -c:a libopus')
    const { sound } = await loadAudio(file)
    expect(sound.seconds).toBeCloseTo(94, 0)
    const loudness = async (one: typeof sound) => (await one.decode()).map(Math.abs).toSorted().at(-1) ?? 0
    const stretches = await cutWhereQuiet(sound, 30)
    const loud = await Promise.all(stretches.map(({ sound }) => loudness(sound)))
    expect(loud.map((one) => one > 0.1)).toEqual([true, ...loud.slice(2).map(() => false), true])
    const clip = await loadAudio(file, { clip: { start: 20, end: 25 } })
    expect([clip.sound.samples, await loudness(clip.sound)]).toEqual([5 * 16_000, 0])
  })

  it('that is cut has the samples of the whole', async () => {
    const { sound } = await loadAudio(make('cut.ogg', '-vn'))
    const whole = await sound.decode()
    const stretches = await cutWhereQuiet(sound, 60)
    const parts = await Promise.all(stretches.map(({ sound }) => sound.decode()))
    expect(parts).toEqual([whole])
    for (const { sound } of stretches) sound.letGo()
    expect(whole).toHaveLength(0)
  })
})

describe.skipIf(missing)(`oddities of videos${skipNote}`, () => {
  const h264 = '-c:v libx264 -preset ultrafast -pix_fmt yuv420p -an'
  const first = async (file: Buffer, options?: Options) => {
    const { frames } = await loadVideo(file, { frames: { most: 4 }, ...options })
    const at = frames[1]
    if (at === undefined) throw new Error('there is one frame only')
    return { frame: at, rgb: await at.decode() }
  }

  it.for(inputs([90], [90, 180, 270]))('a video that is turned by %d degrees is upright', async (degrees) => {
    make('plain.mp4', h264)
    const { frame, rgb } = await first(
      make('turned.mp4', `-i plain.mp4 -map 2 -c copy -metadata:s:v rotate=${degrees}`),
    )
    const isTall = degrees !== 180
    const size = isTall ? { width: height, height: width } : { width, height }
    expect(frame).toMatchObject({ ...size, original: size })
    // Turned back, the number can be read.
    const back = sharp(rgb, { raw: { ...size, channels: 3 } }).rotate(degrees)
    const number = numberIn(await back.raw().toBuffer(), { width, height })
    expect(number).toBe(framesPerSecond)
  })

  it('pixels that are not square are stretched', async () => {
    const { frame, rgb } = await first(make('wide.mp4', `${h264} -vf setsar=2/1`))
    expect(frame).toMatchObject({ width: 2 * width, height, original: { width: 2 * width, height } })
    expect(numberIn(rgb, frame)).toBe(framesPerSecond)
  })

  it('frames of different lengths are found by their times', async () => {
    const some = 'select=not(mod(n\\,7))+eq(n\\,26)'
    const { frames } = await loadVideo(make('variable.mkv', `${h264} -vf ${some} -vsync vfr`), {
      frames: { perSecond: 4 },
    })
    const shown = Array.from({ length: 100 }, (_, n) => n).filter((n) => n % 7 === 0 || n === 26)
    const expected = frames.map(({ time }) => shown.findLast((n) => n <= time * framesPerSecond + 0.03))
    const numbers = await Promise.all(frames.map(async (frame) => numberIn(await frame.decode(), frame)))
    expect(numbers).toEqual(expected)
  })

  it('HDR becomes SDR: black stays black, and white is bright', async () => {
    const hdr = 'colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc'
    // A signal of 0.58 is SDR white in PQ.
    const pixels = '-vf lutyuv=y=val*0.6,format=yuv420p10le'
    const { rgb } = await first(make('hdr.mp4', `-an ${pixels} -c:v libx265 -x265-params log-level=error:${hdr}`))
    // Of the 25th frame: 00011001.
    expect(rgb[3 * (width / 8)]).toBeLessThan(8)
    expect(rgb[3 * (width - width / 8)]).toBeGreaterThan(180)
    expect(rgb[3 * (width - width / 8)]).toBeLessThan(250)
  })

  it('a clip has the frames and the sound of its part', async () => {
    const {
      frames,
      seconds: length,
      sound,
    } = await loadVideo(make('clip.mp4', '-c:v libx264 -pix_fmt yuv420p -c:a aac'), {
      clip: { start: 1, end: 2.5 },
    })
    expect(length).toBe(1.5)
    expect(sound?.samples).toBe(24_000)
    expect(frames.map(({ time }) => time)).toEqual([1, 1.5, 2])
    const numbers = await Promise.all(frames.map(async (frame) => numberIn(await frame.decode(), frame)))
    expect(numbers).toEqual([25, 37, 50])
    await expect(loadVideo(make('clip.mp4', h264), { clip: { start: 9 } })).rejects.toMatchObject({
      code: 'invalid_clip',
      message: 'The clip of the video begins at 9 s, but the video is 4.00 s long.',
    })
  })

  it('as many frames as are asked for, as small as is asked for', async () => {
    const file = make('choice.mp4', h264)
    const { frames } = await loadVideo(file, { frames: { most: 3, perSecond: 25, longestEdge: 160 } })
    expect(frames.map(({ width, height }) => [width, height])).toEqual(Array(3).fill([160, 96]))
    const scenes = await loadVideo(make('scenes.mp4', `${h264} -vf loop=0:0:0,hue=s=0,fps=25`), {
      frames: { most: 4, choose: 'scenes' },
    })
    expect(scenes.frames).toHaveLength(4)
    expect(scenes.frames[0]?.time).toBe(0)
  })

  it('a URL as a browser makes it of its recording, with a comma in the media type, is one video', async () => {
    const data = make('choice.mp4', h264).toString('base64')
    const { format } = await loadVideo(`data:video/mp4;codecs=avc1.42000a,mp4a.40.2;base64,${data}`)
    expect(format).toBe('mp4')
  })

  it('a video that comes again is not decoded, and is the same when its parts are needed', async () => {
    const file = make('again.mp4', '-c:v libx264 -pix_fmt yuv420p -c:a aac')
    const isolation = randomUUID()
    const [one, two] = [await loadVideo(file, { isolation }), await loadVideo(file, { isolation })]
    expect(two.decodeMs).toBe(0)
    expect(two.frames.map(({ hash, time }) => ({ hash, time }))).toEqual(
      one.frames.map(({ hash, time }) => ({ hash, time })),
    )
    expect(two.frames[3]?.rgb).toBeNull()
    expect(await two.frames[3]?.decode()).toEqual(await one.frames[3]?.decode())
    expect(await two.sound?.decode()).toEqual(await one.sound?.decode())
  })

  it.for(inputs(['aac'], ['aac', 'ac3']))('its sound alone may be longer than its frames, with %s', async (codec) => {
    const file = make(`longer-${codec}.mp4`, `-c:v libx264 -pix_fmt yuv420p -vf trim=end_frame=25 -c:a ${codec}`)
    const { sound } = await loadAudio(file)
    expect(sound.seconds).toBeGreaterThan(seconds - 0.05)
    expect(likeTone(await sound.decode(), 0.12).best).toBeGreaterThan(0.99)
    const clip = await loadAudio(file, { clip: { start: 2 } })
    const whole = await sound.decode()
    const difference = (await clip.sound.decode()).map((sample, at) => Math.abs(sample - (whole[32_000 + at] ?? 0)))
    expect(difference.subarray(100, 30_000).toSorted().at(-1)).toBeLessThan(0.02)
  })

  it('a track that nobody needs may have any codec', async () => {
    const without = open({ ffmpeg: '/nowhere/ffmpeg' })
    const silent = { from: without, sound: false }
    const { frames, sound } = await loadVideo(make('ac3.mp4', '-c:v libx264 -pix_fmt yuv420p -c:a ac3'), silent)
    expect({ frames: frames.length, sound }).toEqual({ frames: 8, sound: null })
    const heard = await loadAudio(make('mpeg4.mp4', '-c:v mpeg4 -q:v 2 -c:a aac'), { from: without })
    expect(heard.sound.seconds).toBeGreaterThan(seconds - 0.05)
    await without.close()
  })

  it('is decoded by ffmpeg where the packages do not know the format', async () => {
    const { frames, format } = await loadVideo(make('mpeg4.avi', '-c:v mpeg4 -q:v 2 -an'))
    const numbers = await Promise.all(frames.map(async (frame) => numberIn(await frame.decode(), frame)))
    expect({ format, numbers }).toEqual({ format: 'avi', numbers: [0, 12, 25, 37, 50, 62, 75, 87] })
    const without = open({ ffmpeg: '/nowhere/ffmpeg' })
    await expect(loadVideo(make('mpeg4.avi', '-c:v mpeg4 -q:v 2 -an'), { from: without })).rejects.toMatchObject({
      code: 'unsupported_video',
      message: expect.stringContaining('Install ffmpeg on the server'),
    })
    await without.close()
  })

  it.skipIf(shortRun).for([
    { name: 'key frames without a time', args: 'm4.avi -c:v mpeg4 -q:v 2 -bf 2 -an' },
    { name: 'no packet with a time', args: 'h264.avi -c:v libx264 -pix_fmt yuv420p -an' },
    {
      name: 'frames before the beginning',
      whole: 'whole.mp4 -c:v libx264 -pix_fmt yuv420p -g 50 -c:a ac3',
      args: 'cut.mp4 -ss 1.4 -i whole.mp4 -map 2:v -map 2:a -c copy',
      begins: 35,
    },
  ])('ffmpeg finds the frames of a file with $name', async ({ whole, args, begins = 0 }) => {
    const made = (text: string): Buffer => make(text.slice(0, text.indexOf(' ')), text.slice(text.indexOf(' ') + 1))
    if (whole !== undefined) made(whole)
    const { frames } = await loadVideo(made(args))
    const numbers = await Promise.all(frames.map(async (frame) => numberIn(await frame.decode(), frame)))
    expect(numbers.length).toBeGreaterThan(3)
    expect(numbers).toEqual(frames.map(({ time }) => begins + Math.floor(time * framesPerSecond + 0.001)))
  })
})

describe.skipIf(missing)(`files that are damaged${skipNote}`, () => {
  it('end in an error at once where nothing of a container follows', async () => {
    const from = open({ ffmpeg: '/nowhere/ffmpeg', recordingDecodeTimeoutMs: 30_000 })
    const file = make('zeros.mkv', '-c:v libx264 -pix_fmt yuv420p -g 10 -cluster_time_limit 200 -an')
    await expect(loadVideo(file.fill(0, file.length >> 1), { from })).rejects.toMatchObject({ code: 'invalid_video' })
    await from.close()
  })

  it('end in an error at once where a reader asks in a circle for what is beyond the end', async () => {
    const from = open({ ffmpeg: '/nowhere/ffmpeg', recordingDecodeTimeoutMs: 30_000 })
    const file = make('circle.flac', '-vn -c:a flac')
    // The second block of metadata is padding, and the last one, and longer than the file.
    file.writeUInt8(0x81, 42)
    file.writeUIntBE(file.length, 43, 3)
    await expect(loadAudio(file, { from })).rejects.toMatchObject({ code: 'invalid_audio' })
    await from.close()
  })

  it('are decoded by ffmpeg, as far as it can, where the packages throw', async () => {
    const file = make('noise.aac', '-vn -c:a aac')
    file.fill(0x5a, (file.length >> 1) + 20, (file.length >> 1) + 60)
    const { sound } = await loadAudio(file)
    expect(likeTone((await sound.decode()).subarray(0, 16_000), 0.06).best).toBeGreaterThan(0.99)
    const from = open({ ffmpeg: '/nowhere/ffmpeg' })
    await expect(loadAudio(file, { from })).rejects.toMatchObject({ code: 'invalid_audio' })
    await from.close()
  })
})

describe('a list of images as a video', () => {
  const picture = async (red: number, size = 64): Promise<string> => {
    const create = { width: size, height: size, channels: 3, background: { r: red, g: 0, b: 0 } } as const
    return (await sharp({ create }).jpeg().toBuffer()).toString('base64')
  }
  const list = (frames: readonly string[]): string => `data:video/jpeg;base64,${frames.join(',')}`

  it('has their pixels, one a second or as many as the request says', async () => {
    const url = list(await Promise.all([0, 60, 120, 180, 240].map((red) => picture(red))))
    const { frames, format, seconds: length } = await loadVideo(url)
    expect({ format, length, times: frames.map(({ time }) => time) }).toEqual({
      format: 'frames',
      length: 5,
      times: [0, 1, 2, 3, 4],
    })
    const reds = await Promise.all(frames.map(async (frame) => (await frame.decode())[0] ?? 0))
    for (const [at, red] of reds.entries()) expect(Math.abs(red - at * 60)).toBeLessThan(4)
    expect((await loadVideo(url, { frames: { perSecond: 2, most: 2 } })).frames.map(({ time }) => time)).toEqual([
      0, 1.25,
    ])
    expect((await loadVideo(list([await picture(9)]))).frames).toHaveLength(1)
  })

  it('has the images of a clip only, those where scenes begin, and frames as small as is asked for', async () => {
    const url = list(await Promise.all([0, 0, 0, 200, 200, 200, 200, 90].map((red) => picture(red))))
    const clip = await loadVideo(url, { clip: { start: 3, end: 5 } })
    expect(clip).toMatchObject({ seconds: 2, frames: [{ time: 3 }, { time: 4 }] })
    expect((await clip.frames[0]?.decode())?.[0]).toBeGreaterThan(190)
    await expect(loadVideo(url, { clip: { start: 9 } })).rejects.toMatchObject({ code: 'invalid_clip' })
    const scenes = await loadVideo(url, { frames: { most: 3, choose: 'scenes' } })
    expect(scenes.frames.map(({ time }) => time)).toEqual([0, 3, 7])
    // Eight images of 64 x 64 are too large, and those of 32 x 32 that come of them are not.
    const from = open({ maxTotalFramePixels: 10_000 })
    const small = await loadVideo(url, { from, frames: { longestEdge: 32 } })
    expect(small.frames[7]).toMatchObject({ width: 32, height: 32, original: { width: 64, height: 64 } })
    await expect(loadVideo(url, { from })).rejects.toMatchObject({ code: 'frames_too_large' })
    await from.close()
  })

  it('is refused without counting all of its images when there are millions', async () => {
    const [url, steps] = [`data:video/jpeg;base64,${','.repeat(5_000_000)}`, vi.spyOn(String.prototype, 'indexOf')]
    await expect(loadVideo(url)).rejects.toMatchObject({
      code: 'too_many_frames',
      message: 'The request asks for at least 257 frames of videos; at most 256 are allowed in total.',
    })
    expect(steps.mock.calls.length).toBeLessThan(1000)
    steps.mockRestore()
  })

  it('is refused with fewer frames a second than times can be counted in', async () => {
    const url = list([await picture(1), await picture(2)])
    for (const perSecond of [1e-310, 0, -1, Number.NaN])
      await expect(loadVideo(url, { frames: { perSecond } })).rejects.toMatchObject({
        kind: 'invalid',
        message: `The request asks for ${perSecond} frames of each second of the video; at least 0.0001 are allowed.`,
      })
  })

  it('is refused when the images differ in size, are too many or too large, or one is damaged', async () => {
    const narrow = open({ maxFrames: 3, maxFramePixels: 5000 })
    const small = await picture(1)
    const refusal = (frames: readonly string[]) => loadVideo(list(frames), { from: narrow, frames: { perSecond: 1 } })
    await expect(refusal([small, small, small, small])).rejects.toMatchObject({
      code: 'too_many_frames',
      param: 'video',
    })
    await expect(refusal([small, await picture(1, 32)])).rejects.toMatchObject({ code: 'invalid_video' })
    await expect(refusal([await picture(1, 100)])).rejects.toMatchObject({ code: 'frame_too_large' })
    await expect(refusal([small, small.slice(0, 200)])).rejects.toMatchObject({ code: 'invalid_video' })
    // A picture that claims to be enormous.
    const bomb = Buffer.from(small, 'base64')
    const head = bomb.indexOf(Buffer.from([0xff, 0xc0]))
    bomb.writeUInt16BE(65_000, head + 5)
    bomb.writeUInt16BE(65_000, head + 7)
    await expect(refusal([bomb.toString('base64')])).rejects.toMatchObject({ code: 'frame_too_large' })
    await narrow.close()
  })
})

describe.skipIf(missing)(`limits of videos and audio${skipNote}`, () => {
  it('name what was found and what is allowed', async () => {
    const file = make('limits.mp4', '-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac')
    const refused = async (
      settings: Partial<MediaConfig>,
      kind: 'video' | 'audio' = 'video',
      options: Options = {},
    ) => {
      const from = open(settings)
      const error: unknown = await load(kind, file, { from, ...options }).catch((thrown: unknown) => thrown)
      await from.close()
      return error
    }
    const text = dataUrl(file).length - dataUrl(file).indexOf(',') - 1
    for (const [settings, code, message, kind] of [
      [
        { maxRecordingBase64Bytes: 1000 },
        'recordings_too_large',
        `videos and audio of the request are too large: ${text} characters`,
      ],
      [{ maxRecordingSeconds: 3 }, 'video_too_long', '4 s; at most 3 s are allowed'],
      [{ maxRecordingSeconds: 3 }, 'audio_too_long', '4 s; at most 3 s are allowed', 'audio'],
      [{ maxFramePixels: 1000 }, 'frame_too_large', '320 x 192 pixels; at most 1000'],
      [
        { maxTotalFramePixels: 100_000 },
        'frames_too_large',
        '491520 pixels up to and including this video; at most 100000',
      ],
      [{ maxSamples: 60_000 }, 'too_many_samples', '64000 samples', 'audio'],
      [{ recordingMemoryBytes: 1000 }, 'video_needs_memory', 'more than 1000 bytes of memory'],
    ] as const)
      expect(await refused(settings, kind)).toMatchObject({
        code,
        param: kind ?? 'video',
        message: expect.stringContaining(message),
      })
    expect(await refused({ maxFrames: 5 }, 'video', { frames: { most: 6 } })).toMatchObject({ code: 'too_many_frames' })
    // Without a number of its own, a video has as many as may be.
    const few = open({ maxFrames: 5 })
    expect((await loadVideo(file, { from: few })).frames).toHaveLength(5)
    await few.close()
  })

  it.skipIf(shortRun)('hold for audio that becomes gigabytes, before it is decoded', async () => {
    // More than an hour of silence: some kilobytes of Opus, 237 MB of samples.
    const bomb = make(
      'bomb.ogg',
      '-vn -af apad=whole_dur=3700 -c:a libopus -b:a 6k -vbr on -frame_duration 60 -ac 1 -ar 8000',
    )
    await expect(loadAudio(bomb)).rejects.toMatchObject({ code: 'audio_too_long' })
    const { sound } = await loadAudio(bomb, { clip: { start: 0, end: 2 } })
    expect(sound.seconds).toBeCloseTo(2, 1)
  })
})

it.skipIf(missing || shortRun)(
  `damaged videos and audio cause no crash of the server, no wait for the time limit, and nothing that is empty${skipNote}`,
  { timeout: 3_600_000 },
  async () => {
    const originals = [...videos, ...sounds].map(
      ({ name, args }) => ({ name, args, kind: args.includes('-vn') ? 'audio' : 'video' }) as const,
    )
    const files = originals.map(({ name, args, kind }) => ({ kind, file: make(name, `${args} -t 1`) }))
    const random = seeded(18)
    const from = open({ decoders: 2 })
    const outcomes: Record<string, number> = {}
    const faults: string[] = []
    // Each takes 70 ms of CPU time on average, with what ffmpeg tries.
    const count = 500
    const attempts = Array.from({ length: count }, (_, index) => index).values()
    const lane = async (): Promise<void> => {
      for (const index of attempts) {
        const [kind, file] = damagedRecordings(files, random)
        const outcome = await load(kind, file, { from }).then(
          (loaded) => {
            if (loaded.kind === 'audio' && loaded.sound.samples === 0) faults.push(`${index}: no samples`)
            if (loaded.kind === 'video' && loaded.frames.length === 0) faults.push(`${index}: no frames`)
            return 'decoded'
          },
          (error: { kind?: string; code?: string; message: string }) => {
            const isRefusal = ['invalid', 'too_large', 'unsupported_media', 'unreadable_media'].includes(
              error.kind ?? '',
            )
            if (!isRefusal) faults.push(`${index}: ${error.message}`)
            if (error.code?.endsWith('timeout')) return 'late'
            return error.message.includes('crashed') ? 'crashed' : 'refused'
          },
        )
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
      }
    }
    await Promise.all([lane(), lane()])
    await from.close()
    expect(faults).toEqual([])
    expect(outcomes.decoded).toBeGreaterThan(0)
    expect(outcomes.late ?? 0).toBe(0)
  },
)
