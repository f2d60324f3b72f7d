import type { AudioSample, InputAudioTrack, InputVideoTrack, VideoSample } from 'mediabunny'
import sharp from 'sharp'
import { OrielError } from '../../../errors.ts'
import type { RecordingFormat } from '../../format.ts'
import type { Size } from '../protocol.ts'
import { type Needed, type Recording, rounding } from './recording.ts'
import { type Chunk, joinSound } from './sound.ts'
import { steadyDecoders, steadySource, untilStall } from './steady.ts'
import { addWasmDecoders } from './wasm.ts'
import { type Colours, matrixOf, type Planes, rgbOf } from './yuv.ts'

/**
 * Videos and audio by two packages: mediabunny reads containers, and node-webcodecs decodes, by an FFmpeg inside of it. Both
 * are optional. Where the second is not there, packages in WebAssembly decode sound.
 */

type Packages = typeof import('mediabunny')

let loading: Promise<Packages | null> | undefined

/** @returns null where they are not installed, or not for this system */
const packages = (): Promise<Packages | null> => (loading ??= load().catch(() => null))

const globals = [
  ...(['VideoDecoder', 'AudioDecoder', 'VideoFrame', 'AudioData'] as const),
  ...(['EncodedVideoChunk', 'EncodedAudioChunk', 'VideoColorSpace'] as const),
] as const

async function load(): Promise<Packages> {
  const mediabunny = await import('mediabunny')
  // Without codecs it still decodes PCM.
  await loadCodecs().catch(() => addWasmDecoders(mediabunny))
  return mediabunny
}

async function loadCodecs(): Promise<void> {
  const codecs = await import('node-webcodecs')
  // It throws where its binary is missing.
  await codecs.AudioDecoder.isConfigSupported({ codec: 'opus', sampleRate: 48_000, numberOfChannels: 2 })
  const classes = { ...codecs, ...steadyDecoders(codecs) }
  for (const name of globals) Object.defineProperty(globalThis, name, { value: classes[name] })
}

/**
 * @returns null if the packages are not installed, or do not decode this file
 * @throws an error if the file is damaged
 */
export async function openWithPackages(
  bytes: Buffer,
  format: RecordingFormat,
  needed: Needed,
): Promise<Recording | null> {
  const mediabunny = await packages()
  if (mediabunny === null || format === 'avi') return null
  const { BufferSource, Input, AudioSampleSink, VideoSampleSink } = mediabunny
  // Not the formats that refer to other files.
  const { MP4, QTFF, MATROSKA, WEBM, WAVE, OGG, MP3, ADTS, FLAC, MPEG_TS } = mediabunny
  const formats = [MP4, QTFF, MATROSKA, WEBM, WAVE, OGG, MP3, ADTS, FLAC, MPEG_TS]
  const input = new Input({ source: steadySource(new BufferSource(bytes), bytes.length), formats })
  const close = (): void => input.dispose()
  try {
    const video = await input.getPrimaryVideoTrack()
    const audio = await input.getPrimaryAudioTrack()
    const needsVideo = needed.kind === 'video'
    const main = needsVideo ? video : audio
    // It does not tell of tracks whose codecs it does not know, such as Theora's and Speex's.
    if (main === null) {
      close()
      return null
    }
    const canDecode =
      (!needed.sound || (await decodes(audio))) &&
      // Transparency is put together on a canvas, which Node has not.
      (!needsVideo || ((await decodes(video)) && !(await video?.canBeTransparent())))
    if (!canDecode) {
      close()
      return null
    }
    // Negative times are of what comes before the beginning, such as what an audio codec needs to start.
    const begin = Math.max(0, await main.getFirstTimestamp())
    return {
      seconds: (await main.computeDuration()) - begin,
      picture: video === null ? null : { width: video.displayWidth, height: video.displayHeight },
      hears: audio !== null,
      async *frames(times, size) {
        if (video === null || times.length === 0) return
        const colours = coloursOf(await video.getColorSpace(), video.codedHeight)
        const sink = new VideoSampleSink(video, { hardwareAcceleration: 'prefer-software' })
        let last: { time: number; rgb: Uint8Array } | undefined
        const samples = sink.samplesAtTimestamps(times.map((time) => time + begin + rounding))
        for await (const sample of untilStall(samples)) {
          try {
            if (sample !== null && sample.timestamp !== last?.time)
              last = { time: sample.timestamp, rgb: await pixelsOf(sample, video, colours, size) }
          } finally {
            sample?.close()
          }
          if (last === undefined) throw new Error('no frame')
          yield last.rgb
        }
      },
      async sound(start, end) {
        if (audio === null) return new Float32Array()
        const samples = new AudioSampleSink(audio).samples(start + begin, end + begin)
        return await joinSound(chunksOf(untilStall(samples), begin), start, end)
      },
      close,
    }
  } catch (error) {
    close()
    // It says so of the codec of a WAV file, where it reads the header.
    if (error instanceof Error && error.message.startsWith('Unsupported')) return null
    throw error
  }
}

const decodes = async (track: InputVideoTrack | InputAudioTrack | null): Promise<boolean> =>
  track === null || (await track.canDecode())

async function* chunksOf(decoded: AsyncIterable<AudioSample>, begin: number): AsyncIterable<Chunk> {
  let room = new Float32Array()
  for await (const sample of decoded) {
    const { numberOfChannels, numberOfFrames, sampleRate, timestamp } = sample
    try {
      const length = numberOfFrames * numberOfChannels
      if (room.length < length) room = new Float32Array(length)
      const samples = room.subarray(0, length)
      // Not plane by plane: node-webcodecs would copy what is interleaved.
      sample.copyTo(samples, { planeIndex: 0, format: 'f32' })
      yield { rate: sampleRate, channels: numberOfChannels, samples, time: timestamp - begin }
    } finally {
      sample.close()
    }
  }
}

/** Upright, and of the size that is given. */
async function pixelsOf(
  sample: VideoSample,
  track: InputVideoTrack,
  colours: Colours,
  size: Size,
): Promise<Uint8Array> {
  const { codedWidth: width, codedHeight: height } = sample
  const rgb = rgbOf(await planesOf(sample, colours, (await track.getCodecParameterString()) ?? ''), colours)
  const upright = sharp(rgb, { limitInputPixels: false, raw: { width, height, channels: 3 } }).rotate(track.rotation)
  if (await track.getFlip()) upright.flop()
  return await upright.resize(size.width, size.height, { fit: 'fill', kernel: 'cubic' }).raw().toBuffer()
}

/**
 * The bytes of a frame in the decoder's own format. The package names the formats of 8 bits only, and refuses a buffer that is
 * too small: the size tells the others apart.
 */
async function planesOf(sample: VideoSample, { matrix }: Colours, codec: string): Promise<Planes> {
  const { codedWidth: width, codedHeight: height } = sample
  for (const layout of layouts) {
    const data = new Uint8Array(bytesOf(width, height, layout))
    try {
      await sample.copyTo(data)
    } catch {
      continue
    }
    const is444 = (sample.format === 'I444' || matrix === 'rgb') && bytesOf(width, height, named444) === data.length
    const { chroma, bits } = is444 ? named444 : layout
    return { width, height, data, chroma, bits: bits === 8 ? 8 : is12(codec) ? 12 : 10 }
  }
  throw new OrielError(
    'unsupported_media',
    'The video cannot be decoded: its pixels are in a format that is not supported.',
    {
      code: 'unsupported_video',
    },
  )
}

type Layout = Pick<Planes, 'bits' | 'chroma'>
const layout = (bits: 8 | 10, chroma: Planes['chroma']): Layout => ({ bits, chroma })
/** As large as one of 10 bits. */
const named444 = layout(8, { x: 0, y: 0 })
/** From the smallest. */
const layouts = [
  ...[layout(8, null), layout(8, { x: 1, y: 1 }), layout(8, { x: 1, y: 0 })],
  ...[layout(10, { x: 1, y: 1 }), layout(10, { x: 1, y: 0 }), layout(10, { x: 0, y: 0 })],
]

function bytesOf(width: number, height: number, { bits, chroma }: Layout): number {
  const samples = chroma === null ? 0 : 2 * ((width + chroma.x) >> chroma.x) * ((height + chroma.y) >> chroma.y)
  return (width * height + samples) * (bits === 8 ? 1 : 2)
}

/** VP9 and AV1 say it in the third place after the codec. */
const is12 = (codec: string): boolean => /^(vp09|av01)\.[^.]*\.[^.]*\.12\b/.test(codec)

const coloursOf = ({ matrix, transfer, fullRange }: VideoColorSpaceInit, height: number): Colours => ({
  matrix: matrixOf(matrix ?? '', height),
  fullRange: fullRange ?? false,
  hdr: transfer === 'pq' || transfer === 'hlg' ? transfer : null,
})
