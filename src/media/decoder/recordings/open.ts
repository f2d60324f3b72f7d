import type { AttachmentKind } from '../../../attachments.ts'
import { OrielError } from '../../../errors.ts'
import { type RecordingFormat, recordingFormats, sniffRecording } from '../../format.ts'
import { type Opened, type Part, partOfImage, partOfSound } from '../parts.ts'
import { type RecordingHeader, type Size, soundRate, type WantedAudio, type WantedVideo } from '../protocol.ts'
import { inRow, linksOf } from './chain.ts'
import { openWithFfmpeg } from './ffmpeg.ts'
import { flacIn } from './ogg.ts'
import { openWithPackages } from './packages.ts'
import type { Needed, Recording } from './recording.ts'
import { sceneTimes } from './scenes.ts'
import { withSecond } from './second.ts'
import { evenTimes } from './times.ts'

/**
 * Opens a video or audio.
 * @param onFormat called when the format is known
 * @throws OrielError, or any other error if the file is damaged
 */
export async function openRecording(
  bytes: Buffer,
  wanted: WantedVideo | WantedAudio,
  onFormat: (format: RecordingFormat) => void,
): Promise<Opened> {
  const { kind } = wanted
  const format = formatOf(bytes, kind)
  onFormat(format)
  const needed: Needed = { kind, sound: wanted.kind === 'audio' || needsSound(wanted) }
  const recording = await openAll(bytes, format, needed)
  try {
    return wanted.kind === 'video'
      ? openVideo(recording, wanted, format, bytes.length)
      : openAudio(recording, wanted, format, bytes.length)
  } catch (error) {
    recording.close()
    throw error
  }
}

const needsSound = ({ sound, only }: WantedVideo): boolean => sound && only?.sound !== false

async function openAll(bytes: Buffer, format: RecordingFormat, needed: Needed): Promise<Recording> {
  const links = needed.kind === 'audio' ? linksOf(bytes, format) : [bytes]
  if (links.length === 1) return openWithAny(bytes, format, needed)
  const recordings: Recording[] = []
  try {
    for (const link of links) recordings.push(await openWithAny(link, format, needed))
    return inRow(recordings)
  } catch (error) {
    for (const recording of recordings) recording.close()
    throw error
  }
}

/** What the packages do not decode, or throw on, ffmpeg may decode where it is installed. */
async function openWithAny(bytes: Buffer, format: RecordingFormat, needed: Needed): Promise<Recording> {
  const openSecond = (): Promise<Recording | null> => openWithFfmpeg(bytes, format, needed)
  let failure: unknown
  const first = await openWithPackages(...unwrapped(bytes, format), needed).catch((error: unknown) => {
    failure = error
    return null
  })
  if (first !== null) return withSecond(first, openSecond)
  const second = await openSecond()
  if (second === null) throw failure ?? nothingDecodes(needed.kind, format)
  return second
}

/** mediabunny reads FLAC in its own container only. */
function unwrapped(bytes: Buffer, format: RecordingFormat): [bytes: Buffer, format: RecordingFormat] {
  const flac = format === 'ogg' ? flacIn(bytes) : null
  return flac === null ? [bytes, format] : [flac, 'flac']
}

/** @throws OrielError */
export function openVideo(
  recording: Recording,
  wanted: WantedVideo,
  format: RecordingHeader['format'],
  bytes: number,
): Opened {
  const { picture } = recording
  if (picture === null) throw nothingIn('video', format, 'video')
  const { start, end } = spanOf(recording, wanted)
  const { most, choose, only } = wanted
  const perSecond = recording.perSecond ?? wanted.perSecond ?? wanted.usualPerSecond
  const size = shrunk(picture, wanted.longestEdge)
  const even = only?.times ?? evenTimes(start, end - start, perSecond, most)
  const hears = recording.hears && needsSound(wanted)
  const header: RecordingHeader = {
    ...{ kind: 'video', format, bytes, seconds: end - start, source: picture },
    sizes: even.map(() => size),
    samples: hears ? Math.round((end - start) * soundRate) : 0,
  }
  return {
    header,
    async *parts() {
      const isChosen = choose === 'scenes' && only === null
      const times = isChosen ? await sceneTimes(recording, { start, end }, even.length) : even
      let index = 0
      for await (const rgb of recording.frames(times, size))
        yield partOfImage({ ...size, rgb, original: picture }, index + 1, times[index++] ?? 0)
      if (index !== times.length) throw new Error('frames are missing')
      if (hears) yield* soundOf(recording, start, end)
    },
    close: () => recording.close(),
  }
}

function openAudio(recording: Recording, wanted: WantedAudio, format: RecordingFormat, bytes: number): Opened {
  if (!recording.hears) throw nothingIn('audio', format, 'audio')
  const { start, end } = spanOf(recording, wanted)
  const samples = Math.round((end - start) * soundRate)
  if (samples < 1)
    throw wanted.clip.start > 0 || wanted.clip.end !== null ? tooShort(start, end) : new Error('no samples')
  return {
    header: { kind: 'audio', format, bytes, seconds: end - start, source: null, sizes: [], samples },
    async *parts() {
      const parts = []
      for await (const part of soundOf(recording, start, end)) parts.push(part)
      // A clip may be in a gap of a track that has samples at its beginning.
      const isGap = parts.length === 0 && start > 0 && (await recording.sound(0, 1)).length > 0
      if (isGap) parts.push(partOfSound(new Float32Array(samples)))
      if (parts.length === 0) throw new Error('no samples')
      yield* parts
    },
    close: () => recording.close(),
  }
}

/** Nothing if there are no samples: the sound of a video may be shorter than the video. */
async function* soundOf(recording: Recording, start: number, end: number): AsyncIterable<Part> {
  const samples = await recording.sound(start, end)
  if (samples.length > 0) yield partOfSound(samples)
}

function formatOf(bytes: Buffer, kind: AttachmentKind): RecordingFormat {
  const sniffed = sniffRecording(bytes)
  if (sniffed.known) return sniffed.format
  throw new OrielError(
    'unsupported_media',
    `The ${kind} cannot be decoded: the data is ${sniffed.looksLike}. Supported formats: ${recordingFormats.join(', ')}.`,
    { code: `unsupported_${kind}` },
  )
}

/** @throws OrielError `invalid` for a clip that begins after the end of the file */
function spanOf({ seconds }: Recording, { kind, clip }: WantedVideo | WantedAudio): { start: number; end: number } {
  if (!(seconds > 0)) throw new Error('no length')
  if (clip.start < seconds) return { start: clip.start, end: Math.min(clip.end ?? seconds, seconds) }
  throw new OrielError(
    'invalid',
    `The clip of the ${kind} begins at ${clip.start} s, but the ${kind} is ${seconds.toFixed(2)} s long.`,
    { code: 'invalid_clip' },
  )
}

const tooShort = (start: number, end: number): OrielError =>
  new OrielError(
    'invalid',
    `The clip of the audio is shorter than a sample: it begins at ${start} s and ends at ${end} s.`,
    { code: 'invalid_clip' },
  )

const nothingDecodes = (kind: AttachmentKind, format: RecordingFormat): OrielError =>
  new OrielError(
    'unsupported_media',
    `The ${kind} cannot be decoded: in this ${format} file there is no ${kind} that anything on the server decodes. Install ffmpeg on the server, or send the ${kind} as ${kind === 'video' ? 'mp4 with H.264 and AAC' : 'wav'}.`,
    { code: `unsupported_${kind}` },
  )

function shrunk({ width, height }: Size, longestEdge: number): Size {
  const scale = Math.min(1, longestEdge / Math.max(width, height))
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) }
}

const nothingIn = (kind: AttachmentKind, format: RecordingHeader['format'], what: string): OrielError =>
  new OrielError('unreadable_media', `The ${kind} cannot be decoded: its ${format} data contains no ${what}.`, {
    code: `invalid_${kind}`,
  })
