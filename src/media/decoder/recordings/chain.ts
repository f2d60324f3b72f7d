import { joinFloats } from '../../../join-floats.ts'
import type { RecordingFormat } from '../../format.ts'
import { soundRate } from '../protocol.ts'
import { oggPages } from './ogg.ts'
import type { Recording } from './recording.ts'

/** In more pieces than this, only a damaged file falls. */
const mostLinks = 64
/** Frames in a row with other channels or another rate that are another file, and no damage. */
const leastFrames = 8

/**
 * The files of which an audio file consists, one after the other, as broadcasts and joined files do. Each may have other
 * channels or another rate. mediabunny reads the first one only, or places the others at wrong times.
 */
export function linksOf(bytes: Buffer, format: RecordingFormat): Buffer[] {
  const starts = [0, ...(readers[format]?.(bytes) ?? [])]
  if (starts.length > mostLinks) return [bytes]
  return starts.map((start, index) => bytes.subarray(start, starts[index + 1]))
}

/** Recordings of audio, one after the other. */
export function inRow(recordings: readonly Recording[]): Recording {
  return {
    seconds: recordings.reduce((sum, { seconds }) => sum + seconds, 0),
    picture: null,
    hears: recordings.every(({ hears }) => hears),
    async *frames() {},
    async sound(start, end) {
      const pieces: Float32Array[] = []
      let [begins, length] = [0, 0]
      for (const recording of recordings) {
        const ends = begins + recording.seconds
        if (ends > start && begins < end) {
          // All of its time, so that the next one is not too early.
          const piece = new Float32Array(Math.max(0, Math.round((Math.min(ends, end) - start) * soundRate) - length))
          const sound = await recording.sound(Math.max(0, start - begins), Math.min(ends, end) - begins)
          piece.set(sound.subarray(0, piece.length))
          pieces.push(piece)
          length += piece.length
        }
        begins = ends
      }
      return joinFloats(pieces)
    },
    close() {
      for (const recording of recordings) recording.close()
    },
  }
}

/** Where each further file begins, by formats. */
const readers: Partial<Record<RecordingFormat, (bytes: Buffer) => Iterable<number>>> = {
  ogg: oggStarts,
  flac: flacStarts,
  mp3: (bytes) => changes(mp3Frames(bytes)),
  aac: (bytes) => changes(aacFrames(bytes)),
}

/** Pages that begin a stream after other pages. */
function* oggStarts(bytes: Buffer): Generator<number> {
  let hasBegun = false
  for (const { at, isFirst } of oggPages(bytes)) {
    if (isFirst && hasBegun) yield at
    hasBegun = !isFirst
  }
}

/** With the block that says what the stream is, which is always as long. */
function* flacStarts(bytes: Buffer): Generator<number> {
  const head = Buffer.from('fLaC\0\0\0\x22', 'latin1')
  for (let at = bytes.indexOf(head, 1); at > 0; at = bytes.indexOf(head, at + 1)) yield at
}

interface Frame {
  readonly at: number
  /** Another number for other channels, or another rate. */
  readonly shape: number
}

function* changes(frames: Iterable<Frame>): Generator<number> {
  let current: number | undefined
  let other = { shape: 0, at: 0, count: 0 }
  for (const { at, shape } of frames) {
    current ??= shape
    if (shape === current) other = { shape, at, count: 0 }
    else if (shape !== other.shape || other.count === 0) other = { shape, at, count: 1 }
    else if (++other.count === leastFrames) {
      yield other.at
      current = shape
    }
  }
}

function* mp3Frames(bytes: Buffer): Generator<Frame> {
  for (let at = 0; at + 10 <= bytes.length; ) {
    const header = bytes.readUInt32BE(at)
    const length = mp3FrameBytes(header) || -tagBytes(bytes, at)
    if (length === 0) return
    const isMono = (header & 0xc0) === 0xc0
    if (length > 0) yield { at, shape: (header & 0x001e_0c00) | Number(isMono) }
    at += Math.abs(length)
  }
}

/** The length of a tag of the first or second kind; 0 for what is none. */
function tagBytes(bytes: Buffer, at: number): number {
  const tag = bytes.toString('latin1', at, at + 3)
  if (tag !== 'ID3') return tag === 'TAG' ? 128 : 0
  return 10 + [6, 7, 8, 9].reduce((sum, byte) => sum * 128 + ((bytes[at + byte] ?? 0) & 127), 0)
}

/** In kbit/s, of layer III. */
const bitrates = {
  first: [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  second: [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
}
/** Of the first version of MPEG. */
const rates = [44_100, 48_000, 32_000]
/** By which later versions divide them. */
const divisors = [4, Number.NaN, 2, 1]

/** @returns 0 for what is no header of layer III */
function mp3FrameBytes(header: number): number {
  const version = (header >> 19) & 3
  const isFirst = version === 3
  const rate = (rates[(header >> 10) & 3] ?? 0) / (divisors[version] ?? 1)
  const kilobits = bitrates[isFirst ? 'first' : 'second'][(header >> 12) & 15] ?? 0
  if (header >>> 21 !== 0x7ff || ((header >> 17) & 3) !== 1 || !(rate > 0) || kilobits === 0) return 0
  return Math.floor(((isFirst ? 144 : 72) * 1000 * kilobits) / rate) + ((header >> 9) & 1)
}

/** By their headers (ADTS). */
function* aacFrames(bytes: Buffer): Generator<Frame> {
  for (let at = 0; at + 7 <= bytes.length && (bytes.readUInt16BE(at) & 0xfff6) === 0xfff0; ) {
    const [rate, channels] = [(bytes.readUInt8(at + 2) >> 2) & 15, (bytes.readUInt16BE(at + 2) >> 6) & 7]
    yield { at, shape: rate * 8 + channels }
    const length = (bytes.readUInt32BE(at + 3) >> 13) & 0x1fff
    if (length < 7) return
    at += length
  }
}
