import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { soundRate } from '../../src/media/decoder/protocol.ts'

/**
 * Videos and audio of known frames and samples, made by ffmpeg. Each frame shows its number as eight blocks, white for 1, and
 * each sound is a tone that rises.
 */

export const [width, height] = [320, 192]
export const framesPerSecond = 25
export const seconds = 4
const frames = seconds * framesPerSecond

export const missingEncoder = (): boolean => spawnSync('ffmpeg', ['-version']).status !== 0

/** The blocks are in two rows of four, the highest bit first. */
function frame(index: number): Buffer {
  const pixels = Buffer.alloc(width * height)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const block = Math.floor((y * 2) / height) * 4 + Math.floor((x * 4) / width)
      pixels[y * width + x] = (index >> (7 - block)) & 1 ? 235 : 16
    }
  return pixels
}

/** The number in a frame: the middle of each block is read. @param rgb `[height, width, 3]` of any size */
export function numberIn(rgb: Uint8Array, size: { width: number; height: number }): number {
  let number = 0
  for (let block = 0; block < 8; block++) {
    const x = Math.floor(((block % 4) + 0.5) * (size.width / 4))
    const y = Math.floor((Math.floor(block / 4) + 0.5) * (size.height / 2))
    number = (number << 1) | Number((rgb[(y * size.width + x) * 3 + 1] ?? 0) > 127)
  }
  return number
}

/** From 200 Hz, by 500 Hz a second, at half of the loudest. */
const tone = (time: number): number => 0.5 * Math.sin(2 * Math.PI * (200 * time + 250 * time * time))

/**
 * How like the tone a sound is, from -1 to 1, and how much later than it in seconds.
 * @param most that it may be later or earlier
 */
export function likeTone(sound: Float32Array, most: number): { best: number; late: number } {
  const at = (late: number, step: number): number => {
    let [ab, aa, bb] = [0, 0, 0]
    for (let i = 0; i < sound.length; i += step) {
      const time = i / soundRate - late
      const [x, y] = [time < 0 || time >= seconds ? 0 : tone(time), sound[i] ?? 0]
      ab += x * y
      aa += x * x
      bb += y * y
    }
    return ab / Math.sqrt(aa * bb)
  }
  let [best, late] = [at(0, 31), 0]
  const search = (from: number, to: number, distance: number, step: number): void => {
    for (let shift = from; shift <= to; shift += distance) {
      const found = at(shift, step)
      if (found > best) [best, late] = [found, shift]
    }
  }
  search(-most, most, 1 / soundRate, 31)
  search(late - 1 / soundRate, late + 1 / soundRate, 0.125 / soundRate, 7)
  return { best: at(late, 1), late }
}

export function wave(rate: number, channels: number): Buffer {
  const count = seconds * rate
  const file = Buffer.alloc(44 + count * channels * 2)
  file.write('RIFF\0\0\0\0WAVEfmt ', 'latin1')
  file.writeUInt32LE(file.length - 8, 4)
  file.writeUInt32LE(16, 16)
  file.writeUInt16LE(1, 20)
  file.writeUInt16LE(channels, 22)
  file.writeUInt32LE(rate, 24)
  file.writeUInt32LE(rate * channels * 2, 28)
  file.writeUInt16LE(channels * 2, 32)
  file.writeUInt16LE(16, 34)
  file.write('data', 36, 'latin1')
  file.writeUInt32LE(count * channels * 2, 40)
  for (let i = 0; i < count; i++)
    for (let c = 0; c < channels; c++)
      file.writeInt16LE(Math.round(tone(i / rate) * 32767), 44 + (i * channels + c) * 2)
  return file
}

/** Writes what the files are made of. @returns a function that makes one of them, by the arguments of ffmpeg after the input */
export function prepare(folder: string): (name: string, args: string) => Buffer {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'frames.gray'), Buffer.concat(Array.from({ length: frames }, (_, index) => frame(index))))
  writeFileSync(join(folder, 'tone.wav'), wave(48_000, 2))
  return (name, args) => {
    const video = `-f rawvideo -pix_fmt gray -s ${width}x${height} -r ${framesPerSecond} -i frames.gray`
    const inputs = `-hide_banner -loglevel error -y ${args.includes('-vn') ? '' : video} -i tone.wav`
    execFileSync(
      'ffmpeg',
      [...inputs.split(' '), ...args.split(' '), name].filter((arg) => arg !== ''),
      { cwd: folder },
    )
    return readFileSync(join(folder, name))
  }
}

interface Specimen {
  readonly name: string
  /** Arguments of ffmpeg. */
  readonly args: string
}

const h264 = '-c:v libx264 -preset ultrafast -pix_fmt yuv420p'
const still = '-an'

/** Videos: their frames, and their sound if there is some. */
export const videos: readonly Specimen[] = [
  { name: 'h264-aac.mp4', args: `-c:v libx264 -pix_fmt yuv420p -bf 3 -g 60 -c:a aac` },
  { name: 'h264-aac-faststart.mp4', args: `${h264} -c:a aac -movflags +faststart` },
  { name: 'h264-fragmented.mp4', args: `${h264} -c:a aac -movflags frag_keyframe+empty_moov+delay_moov` },
  { name: 'h264-mp3.mp4', args: `${h264} -c:a libmp3lame` },
  { name: 'h264-aac.mov', args: `${h264} -c:a aac` },
  { name: 'h264-pcm.mov', args: `${h264} -c:a pcm_s16le` },
  { name: 'h264-opus.mkv', args: `${h264} -c:a libopus` },
  { name: 'h264-aac.ts', args: `${h264} -c:a aac` },
  { name: 'h264-444.mp4', args: `-c:v libx264 -pix_fmt yuv444p ${still}` },
  { name: 'h264-10-bit.mp4', args: `-c:v libx264 -pix_fmt yuv420p10le ${still}` },
  { name: 'hevc-aac.mp4', args: '-c:v libx265 -x265-params log-level=error -pix_fmt yuv420p -tag:v hvc1 -c:a aac' },
  { name: 'hevc-10-bit.mkv', args: `-c:v libx265 -x265-params log-level=error -pix_fmt yuv420p10le ${still}` },
  { name: 'hevc-flac.mkv', args: '-c:v libx265 -x265-params log-level=error -pix_fmt yuv420p -c:a flac' },
  { name: 'vp8-vorbis.webm', args: '-c:v libvpx -b:v 1M -c:a libvorbis' },
  { name: 'vp9-opus.webm', args: '-c:v libvpx-vp9 -cpu-used 8 -b:v 500k -c:a libopus' },
  { name: 'vp9-opus.mp4', args: '-c:v libvpx-vp9 -cpu-used 8 -b:v 500k -c:a libopus' },
  { name: 'theora-vorbis.ogv', args: '-c:v libtheora -q:v 9 -c:a libvorbis' },
  { name: 'mpeg2-mp2.ts', args: '-c:v mpeg2video -q:v 2 -c:a mp2' },
  { name: 'av1.mp4', args: `-c:v libaom-av1 -cpu-used 8 -usage realtime -b:v 500k ${still}` },
]

/** Audio, and how much later it may be, in ms: some formats do not say how much their codecs add. */
export const sounds: readonly (Specimen & { late?: number })[] = [
  { name: 'pcm.wav', args: '-vn -c:a pcm_s16le' },
  { name: 'pcm-24-bit.wav', args: '-vn -c:a pcm_s24le' },
  { name: 'pcm-8-bit.wav', args: '-vn -c:a pcm_u8' },
  { name: 'pcm-float-96-kHz.wav', args: '-vn -c:a pcm_f32le -ar 96000' },
  { name: 'alaw-8-kHz.wav', args: '-vn -c:a pcm_alaw -ar 8000' },
  { name: 'mono-11025-Hz.wav', args: '-vn -c:a pcm_s16le -ac 1 -ar 11025' },
  { name: '5.1.wav', args: '-vn -c:a pcm_s16le -af pan=5.1|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0' },
  { name: 'opus.ogg', args: '-vn -c:a libopus' },
  { name: 'opus-speech.ogg', args: '-vn -c:a libopus -b:a 24k -ac 1 -ar 16000' },
  { name: 'vorbis.ogg', args: '-vn -c:a libvorbis' },
  { name: 'mp3.mp3', args: '-vn -c:a libmp3lame', late: 60 },
  { name: 'mp3-22050-Hz-mono.mp3', args: '-vn -c:a libmp3lame -ar 22050 -ac 1', late: 120 },
  { name: 'aac.m4a', args: '-vn -c:a aac' },
  { name: 'aac.aac', args: '-vn -c:a aac', late: 60 },
  { name: 'alac.m4a', args: '-vn -c:a alac' },
  { name: 'flac.flac', args: '-vn -c:a flac' },
  { name: 'flac.ogg', args: '-vn -c:a flac' },
  { name: 'opus.webm', args: '-vn -c:a libopus' },
  { name: 'aac-5.1.m4a', args: '-vn -c:a aac -af pan=5.1|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0' },
]
