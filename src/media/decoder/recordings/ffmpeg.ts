import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { platform, tmpdir } from 'node:os'
import path from 'node:path'
import type { AttachmentKind } from '../../../attachments.ts'
import { OrielError } from '../../../errors.ts'
import { residentBytes } from '../../../memory.ts'
import type { RecordingFormat } from '../../format.ts'
import { needsMemory } from '../needs-memory.ts'
import { type Size, soundRate } from '../protocol.ts'
import { progress } from './progress.ts'
import { type Needed, type Recording, rounding } from './recording.ts'
import { type Colours, matrixOf, rgbOf } from './yuv.ts'

/**
 * Videos and audio by the programs `ffmpeg` and `ffprobe` of the system. They read one file by the demuxer of
 * the format that its first bytes say, so that no file can refer to another one. Nothing that they write about a
 * file is read, except for numbers and the names of what FFmpeg itself knows.
 */

const demuxers: Record<RecordingFormat, string> = {
  ...{ mp4: 'mov', mov: 'mov', m4a: 'mov', mkv: 'matroska', webm: 'matroska', avi: 'avi', mpegts: 'mpegts' },
  ...{ ogg: 'ogg', mp3: 'mp3', flac: 'flac', wav: 'wav', aac: 'aac' },
}

/** Settings that the server gives to its decoders. */
const program = process.env.ORIEL_FFMPEG || 'ffmpeg'
const memoryBytes = Number(process.env.ORIEL_RECORDING_MEMORY) || Number.POSITIVE_INFINITY
/** `ffprobe` is beside `ffmpeg`. */
const probe = path.join(path.dirname(program), path.basename(program).replace('ffmpeg', 'ffprobe'))
const probeProgram = program.includes(path.sep) ? probe : 'ffprobe'

interface Stream {
  readonly index: number
  readonly codec_type?: string
  readonly codec_name?: string
  readonly width?: number
  readonly height?: number
  readonly sample_aspect_ratio?: string
  readonly color_space?: string
  readonly color_transfer?: string
  readonly disposition?: { readonly attached_pic?: number }
  readonly side_data_list?: readonly { readonly rotation?: number }[]
}

/** @returns null if the programs are not there, or know none of the codecs. @throws an error if the file is damaged */
export async function openWithFfmpeg(
  bytes: Buffer,
  format: RecordingFormat,
  needed: Needed,
): Promise<Recording | null> {
  const file = new NamelessFile(bytes, needed.kind)
  try {
    const entries =
      'stream=index,codec_type,codec_name,width,height,sample_aspect_ratio,color_space,color_transfer:stream_disposition=attached_pic:stream_side_data=rotation'
    const told = await textOf(probeProgram, [...file.input(format), '-show_entries', entries, '-of', 'json'], file)
    if (told === null) {
      file.close()
      return null
    }
    const { streams } = JSON.parse(told) as { streams: readonly Stream[] }
    const known = streams.filter(({ codec_name }) => codec_name !== undefined && codec_name !== 'unknown')
    const video = known.find(({ codec_type, disposition }) => codec_type === 'video' && disposition?.attached_pic !== 1)
    const audio = known.find(({ codec_type }) => codec_type === 'audio')
    const main = needed.kind === 'video' ? (video ?? audio) : (audio ?? video)
    if (main === undefined) throw new Error('no streams')
    const packets = await packetsOf(main, format, file)
    const [first, last] = [packets[0], packets.at(-1)]
    if (first === undefined || last === undefined) throw new Error('no packets')
    const begin = Math.max(0, first.time)
    const picture = video === undefined ? null : uprightSize(video)
    return {
      seconds: last.time + last.duration - begin,
      picture,
      hears: audio !== undefined,
      async *frames(times, size) {
        if (video === undefined || times.length === 0) return
        const numbers = times.map((time) =>
          Math.max(
            0,
            packets.findLastIndex((packet) => packet.time <= time + begin + rounding),
          ),
        )
        const distinct = [...new Set(numbers)]
        const from = seeking(keyBefore(packets, distinct[0] ?? 0))
        const colours = coloursOf(video)
        const pixels = colours.hdr === null ? 'rgb24' : 'yuv444p10le'
        const select = `select=${distinct.map((number, index) => `eq(selected_n\\,${index})*${reached(packets, number)}`).join('+')}`
        const matrix = colours.hdr === null ? `:in_color_matrix=${colours.matrix}` : ''
        const scale = `scale=${size.width}:${size.height}:flags=bicubic+accurate_rnd+full_chroma_int${matrix}`
        const output = [
          ...['-vf', `${select},${counted},${scale},format=${pixels}`],
          ...outputRate,
          ...['-pix_fmt', pixels],
        ]
        const args = [
          ...['-copyts', '-map', `0:${video.index}`, '-an', ...output, '-frames:v', String(distinct.length)],
          ...['-f', 'rawvideo', 'pipe:1'],
        ]
        const bytesEach = size.width * size.height * (colours.hdr === null ? 3 : 6)
        let [at, rgb]: [number, Uint8Array | undefined] = [0, undefined]
        for await (const frame of pieces(run(program, [...from, ...file.input(format), ...args], file), bytesEach)) {
          rgb =
            colours.hdr === null ? frame : rgbOf({ ...size, data: frame, bits: 10, chroma: { x: 0, y: 0 } }, colours)
          for (; at < numbers.length && numbers[at] === distinct[0]; at++) yield rgb
          distinct.shift()
        }
        // The last ones may be damaged.
        if (rgb === undefined) throw new Error('no frame')
        for (; at < numbers.length; at++) yield rgb
      },
      async sound(start, end) {
        if (audio === undefined) return new Float32Array()
        const [from, to] = [start + begin, end + begin]
        const sounding = audio === main ? packets : await packetsOf(audio, format, file)
        const next = sounding.find(({ time, duration }) => time + duration > from)
        // Not `first_pts`, which would apply again wherever the channels or the rate change.
        const mixed = `aresample=${soundRate}:async=1:rematrix_maxval=1,aformat=channel_layouts=mono`
        const args = [
          ...['-copyts', '-map', `0:${audio.index}`, '-vn'],
          ...['-af', `atrim=start=${from}:end=${to},${mixed}`, '-f', 'f32le', 'pipe:1'],
        ]
        const samples = new Float32Array(Math.round((end - start) * soundRate))
        const bytes = new Uint8Array(samples.buffer)
        // What comes before is silent.
        const late = Math.round(Math.max(0, (next?.time ?? from) - from) * soundRate)
        let length = Math.min(late, samples.length) * Float32Array.BYTES_PER_ELEMENT
        for await (const chunk of run(
          program,
          [...seeking(start > 0 ? from - preroll : null), ...file.input(format), ...args],
          file,
        )) {
          const kept = chunk.subarray(0, bytes.length - length)
          bytes.set(kept, length)
          length += kept.length
          if (length === bytes.length) break
        }
        return samples.subarray(0, length >> 2)
      },
      close: () => file.close(),
    }
  } catch (error) {
    file.close()
    throw error
  }
}

/** Codecs need some sound before the one that is wanted, in seconds. */
const preroll = 0.5

/** Arguments for an input that is read from about a time of its own on. Null: from the beginning. */
const seeking = (time: number | null): string[] =>
  time === null ? [] : ['-seek_timestamp', '1', '-noaccurate_seek', '-ss', String(Math.max(0, time))]

/** Frames a second of the output: every selected frame once. The option for that has other names in other versions of ffmpeg. */
const [counted, outputRate] = ['settb=1/25,setpts=N', ['-r', '25']]

interface Packet {
  readonly time: number
  readonly duration: number
  /** Whether its time is the one at which it is shown. */
  readonly isShownThen: boolean
  readonly isKey: boolean
}

/**
 * In the order in which they are shown, without those that are decoded and never shown. Where some packets do not say when
 * they are shown, as in AVI, all have the times at which they are decoded: as many of them, at the same distances.
 */
async function packetsOf({ index }: Stream, format: RecordingFormat, file: NamelessFile): Promise<Packet[]> {
  const entries = 'packet=pts_time,dts_time,duration_time,flags'
  const args = ['-select_streams', String(index), '-show_entries', entries, '-of', 'csv=p=0']
  const text = (await textOf(probeProgram, [...file.input(format), ...args], file)) ?? ''
  const lines = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(','))
    .filter(([, , , flags = '']) => !flags.includes('D'))
  const isShownThen = lines.every(([shown]) => Number.isFinite(Number(shown)))
  return lines
    .map(([shown, decoded, duration, flags = '']) => ({
      time: Number(isShownThen ? shown : decoded),
      duration: Number(duration) || 0,
      isShownThen,
      isKey: flags.includes('K'),
    }))
    .filter(({ time }) => Number.isFinite(time))
    .toSorted((a, b) => a.time - b.time)
}

/**
 * Whether the frame of a packet is reached, as an expression of ffmpeg's. By the time: a packet may have no frame, such as
 * one from before the first key frame of a broadcast.
 */
function reached(packets: readonly Packet[], number: number): string {
  const { time = 0, isShownThen = false } = packets[number] ?? {}
  return isShownThen ? `gte(t\\,${(time - rounding / 2).toFixed(6)})` : `gte(n\\,${number})`
}

/**
 * The time from which a file is read for the frame of a packet. Not of the last key frame before it, but of the one before
 * that: some containers find a place only roughly. Null: from the beginning.
 */
function keyBefore(packets: readonly Packet[], number: number): number | null {
  const keys = packets.slice(0, number + 1).filter(({ isKey, isShownThen }) => isKey && isShownThen)
  return keys.at(-2)?.time ?? null
}

function uprightSize({ width = 0, height = 0, sample_aspect_ratio = '1:1', side_data_list = [] }: Stream): Size {
  if (width === 0 || height === 0) throw new Error('no size')
  const [x = 1, y = 1] = sample_aspect_ratio.split(':').map((part) => Number(part) || 1)
  const square =
    x >= y ? { width: Math.round((width * x) / y), height } : { width, height: Math.round((height * y) / x) }
  const turned = side_data_list.some(({ rotation = 0 }) => Math.abs(rotation) % 180 === 90)
  return turned ? { width: square.height, height: square.width } : square
}

function coloursOf({ color_space = '', color_transfer, height = 0 }: Stream): Colours {
  const hdr = color_transfer === 'smpte2084' ? 'pq' : color_transfer === 'arib-std-b67' ? 'hlg' : null
  return { matrix: hdr === null ? matrixOf(color_space, height) : 'bt2020', fullRange: false, hdr }
}

/**
 * Whether a descriptor can be opened again by a name, to be read from the beginning. Elsewhere such a name gives the same
 * descriptor, which others have read to its middle: the file keeps its name, in a folder that only this user can enter.
 */
const isNameless = platform() === 'linux'

/** A file for programs to read. On Linux, only those who have its descriptor can. */
class NamelessFile {
  readonly #folder: string
  readonly #name: string
  readonly fd: number
  readonly kind: AttachmentKind
  readonly #running = new Set<ChildProcess>()

  /** @param kind what it should be, for errors */
  constructor(bytes: Buffer, kind: AttachmentKind) {
    this.kind = kind
    try {
      this.#folder = mkdtempSync(path.join(tmpdir(), 'oriel-'))
    } catch (error) {
      throw notStored(kind, error)
    }
    this.#name = path.join(this.#folder, 'file')
    let isReady = false
    try {
      writeFileSync(this.#name, bytes, { mode: 0o600 })
      this.fd = openSync(this.#name, 'r')
      isReady = true
    } catch (error) {
      throw notStored(kind, error)
    } finally {
      if (isNameless || !isReady) this.#remove()
    }
  }

  /** Arguments that make it the input. */
  input(format: RecordingFormat): string[] {
    const name = isNameless ? '/dev/fd/3' : this.#name
    const limits = ['-protocol_whitelist', 'file,pipe', '-max_alloc', '1000000000', '-threads', '2']
    return ['-v', 'quiet', '-hide_banner', ...limits, '-f', demuxers[format], '-i', `file:${name}`]
  }

  has(child: ChildProcess): void {
    this.#running.add(child)
    child.on('exit', () => this.#running.delete(child))
  }

  close(): void {
    for (const child of this.#running) child.kill('SIGKILL')
    closeSync(this.fd)
    if (!isNameless) this.#remove()
  }

  #remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** What a program writes. @throws an error with the code ENOENT if it is not there */
async function* run(name: string, args: readonly string[], file: NamelessFile): AsyncIterable<Buffer> {
  const child = spawn(name, args, {
    stdio: ['ignore', 'pipe', 'ignore', file.fd],
    env: { PATH: process.env.PATH },
    cwd: path.parse(process.cwd()).root,
  })
  file.has(child)
  let [failure, tooLarge]: [Error | undefined, boolean] = [undefined, false]
  child.on('error', (error) => {
    failure = error
  })
  const watch = setInterval(() => {
    if (residentBytes(child.pid) <= memoryBytes) return
    tooLarge = true
    child.kill('SIGKILL')
  }, 100)
  try {
    for await (const chunk of child.stdout ?? []) {
      progress()
      yield chunk as Buffer
    }
    if (failure !== undefined) throw failure
    if (tooLarge) throw needsMemory(file.kind, memoryBytes)
  } finally {
    clearInterval(watch)
    // One that was not started has no id yet: the signal would go to the process group of this one.
    if (child.pid !== undefined) child.kill('SIGKILL')
  }
}

/** @returns null if the program is not there */
async function textOf(name: string, args: readonly string[], file: NamelessFile): Promise<string | null> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of run(name, args, file)) chunks.push(chunk)
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'EACCES')) return null
    throw error
  }
  return Buffer.concat(chunks).toString('latin1')
}

/** Cuts what is written into pieces of a length; an incomplete one at the end is dropped. */
async function* pieces(chunks: AsyncIterable<Buffer>, length: number): AsyncIterable<Uint8Array> {
  let [piece, filled] = [new Uint8Array(length), 0]
  for await (const chunk of chunks)
    for (let at = 0; at < chunk.length; ) {
      const taken = Math.min(chunk.length - at, length - filled)
      piece.set(chunk.subarray(at, at + taken), filled)
      filled += taken
      at += taken
      if (filled < length) continue
      yield piece
      ;[piece, filled] = [new Uint8Array(length), 0]
    }
}

/** @param error of the file system, whose message has a path */
const notStored = (kind: AttachmentKind, error: unknown): OrielError =>
  new OrielError(
    'internal',
    `The server cannot store the ${kind} in a temporary file for ffmpeg${error instanceof Error && 'code' in error ? ` (${error.code})` : ''}.`,
    { code: 'no_temporary_file' },
  )
