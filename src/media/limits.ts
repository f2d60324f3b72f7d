import { onAbort } from '../abort.ts'
import { type AttachmentKind, leastPerSecond } from '../attachments.ts'
import type { MediaConfig } from '../config.ts'
import { OrielError } from '../errors.ts'
import type { AttachmentSource, Clip } from './attachment.ts'
import { dataAt } from './decoder/data-url.ts'
import { type FileHeader, type ImagesHeader, type RecordingHeader, soundRate } from './decoder/protocol.ts'

/** The URL that has to be fetched. Any other source carries its data. */
export const remoteUrlOf = ({ url }: AttachmentSource): string | undefined =>
  url !== undefined && isRemote(url) ? url : undefined

const isRemote = (url: string): boolean => /^https?:/i.test(url)

/**
 * Checks what needs no data: the number of the sources, their URL schemes, the size of their base64, the frames that they
 * ask for.
 * @throws OrielError with `param`
 */
export function checkSources(sources: readonly AttachmentSource[], config: MediaConfig): void {
  const images = sources.filter(({ kind }) => kind === 'image')
  const recordings = sources.filter(({ kind }) => kind !== 'image')
  const extraImage = images[config.maxImages]
  if (extraImage !== undefined)
    throw new OrielError(
      'invalid',
      `The request has ${images.length} images; at most ${config.maxImages} are allowed.`,
      {
        param: extraImage.param,
        code: 'too_many_images',
      },
    )
  const extra = recordings[config.maxRecordings]
  if (extra !== undefined)
    throw new OrielError(
      'invalid',
      `The request has ${recordings.length} videos and audio; at most ${config.maxRecordings} are allowed.`,
      { param: extra.param, code: 'too_many_recordings' },
    )
  for (const { kind, url, param } of sources) if (url !== undefined) checkScheme(kind, url, param)
  checkBase64(images, 'images', config.maxBase64Bytes)
  checkBase64(recordings, 'videos and audio', config.maxRecordingBase64Bytes)
  checkFrames(recordings, config.maxFrames)
  for (const { clip, kind, param } of recordings) checkClip(clip, kind, param)
}

function checkScheme(kind: AttachmentKind, url: string, param: string): void {
  const scheme = /^([a-z][a-z0-9+.-]{0,30}):/i.exec(url)?.[1]?.toLowerCase()
  if (scheme === undefined || scheme === 'data' || scheme === 'http' || scheme === 'https') return
  throw new OrielError(
    'invalid',
    `The ${kind} URL is not allowed: its scheme is ${scheme}:, and only data:, http: and https: are supported.`,
    { param, code: `invalid_${kind}_url` },
  )
}

function checkBase64(sources: readonly AttachmentSource[], noun: string, most: number): void {
  let total = 0
  for (const { url, param } of sources) {
    total += url === undefined ? 0 : base64Length(url)
    if (total > most)
      throw new OrielError(
        'too_large',
        `The base64 ${noun} of the request are too large: ${total} characters up to and including this one; at most ${most} are allowed in total. Those sent by URL do not count.`,
        { param, code: noun === 'images' ? 'images_too_large' : 'recordings_too_large' },
      )
  }
}

const base64Length = (url: string): number => (isRemote(url) ? 0 : url.length - (dataAt(url) ?? 0))

/** The frames that a source asks for itself, or brings as a list of images. */
function checkFrames(sources: readonly AttachmentSource[], most: number): void {
  let total = 0
  for (const { kind, url, frames, param } of sources) {
    if (kind !== 'video') continue
    const { perSecond = leastPerSecond } = frames ?? {}
    if (!(perSecond >= leastPerSecond))
      throw new OrielError(
        'invalid',
        `The request asks for ${perSecond} frames of each second of the video; at least ${leastPerSecond} are allowed.`,
        { param, code: 'too_few_frames' },
      )
    const listed = url === undefined || isRemote(url) ? 0 : framesInList(url, most + 1)
    total += Math.max(frames?.most ?? 0, listed)
    if (total > most) throw tooManyFrames(total, most).at(param)
  }
}

/**
 * The images of a list such as `data:video/jpeg;base64,<frame>,<frame>`; 0 for one file.
 * @param enough where it stops counting: millions of commas would take long
 */
export function framesInList(url: string, enough: number): number {
  let commas = 0
  for (let at = url.indexOf(',', dataAt(url) ?? 0); at >= 0 && commas < enough; at = url.indexOf(',', at + 1)) commas++
  return commas === 0 ? 0 : Math.min(commas + 1, enough)
}

function checkClip(clip: Clip | undefined, kind: AttachmentKind, param: string): void {
  const { start = 0, end = Number.POSITIVE_INFINITY } = clip ?? {}
  if (start >= 0 && end > start) return
  throw new OrielError(
    'invalid',
    `The clip of the ${kind} is not allowed: it begins at ${start} s and ends at ${end} s; the start must be 0 or more, and the end after it.`,
    { param, code: 'invalid_clip' },
  )
}

/**
 * Counts the images, frames, pixels and samples of one request against its limits.
 * @returns a function that takes a file's header and returns the pixels that decoding the file will need in memory. It
 * throws an OrielError when the file exceeds a limit.
 */
export function requestBudget(config: MediaConfig): (header: FileHeader) => number {
  const countImages = imageBudget(config)
  const countRecording = recordingBudget(config)
  return (header) => (header.kind === 'image' ? countImages(header) : countRecording(header))
}

function imageBudget({ maxImages, maxPixels, maxTotalPixels }: MediaConfig): (header: ImagesHeader) => number {
  let images = 0
  let total = 0
  return (header) => {
    const { sizes } = header
    const pixels = sizes.map(({ width, height }) => width * height)
    const large = sizes[pixels.findIndex((count) => count > maxPixels)]
    if (large !== undefined)
      throw new OrielError(
        'too_large',
        `The image is too large: ${large.width} x ${large.height} pixels; at most ${maxPixels} pixels are allowed per image.`,
        { code: 'image_too_large' },
      )
    images += sizes.length
    if (images > maxImages)
      throw new OrielError(
        'invalid',
        `The request has ${images} images, counting each page and frame up to and including this file; at most ${maxImages} are allowed. Select fewer with the extension "pages" or "frames" next to the URL, for example "pages": "1-3,7".`,
        { code: 'too_many_images' },
      )
    const sum = pixelsIn(header)
    total += sum
    if (total > maxTotalPixels)
      throw new OrielError(
        'too_large',
        `The images of the request are too large: ${total} pixels up to and including this one; at most ${maxTotalPixels} are allowed in total.`,
        { code: 'images_too_large' },
      )
    return sum
  }
}

function recordingBudget(config: MediaConfig): (header: RecordingHeader) => number {
  const { maxRecordingSeconds, maxFrames, maxFramePixels, maxTotalFramePixels, maxSamples } = config
  let [frames, pixels, samples] = [0, 0, 0]
  return (header) => {
    const { kind, seconds, source, sizes } = header
    if (seconds > maxRecordingSeconds)
      throw new OrielError(
        'too_large',
        `The ${kind} is too long: ${Math.round(seconds)} s; at most ${maxRecordingSeconds} s are allowed. Send a shorter one, or select a part with "clip".`,
        { code: `${kind}_too_long` },
      )
    if (source !== null && source.width * source.height > maxFramePixels)
      throw new OrielError(
        'too_large',
        `The frames of the video are too large: ${source.width} x ${source.height} pixels; at most ${maxFramePixels} pixels are allowed per frame.`,
        { code: 'frame_too_large' },
      )
    frames += sizes.length
    if (frames > maxFrames) throw tooManyFrames(frames, maxFrames)
    pixels += sizes.reduce((sum, { width, height }) => sum + width * height, 0)
    if (pixels > maxTotalFramePixels)
      throw new OrielError(
        'too_large',
        `The frames of the request are too large: ${pixels} pixels up to and including this video; at most ${maxTotalFramePixels} are allowed in total. Ask for fewer or smaller frames.`,
        { code: 'frames_too_large' },
      )
    samples += header.samples
    if (samples > maxSamples)
      throw new OrielError(
        'too_large',
        `The audio of the request is too long: ${samples} samples at ${soundRate} a second up to and including this file; at most ${maxSamples} are allowed in total.`,
        { code: 'too_many_samples' },
      )
    return pixelsIn(header)
  }
}

const tooManyFrames = (found: number, most: number): OrielError =>
  new OrielError(
    'invalid',
    `The request asks for at least ${found} frames of videos; at most ${most} are allowed in total.`,
    {
      code: 'too_many_frames',
    },
  )

/** Frames that a decoder of a video holds, since later ones are predicted from them. */
const framesHeld = 6

/** Pixels of all selected pages of a file, or of what decoding a recording takes. */
export const pixelsIn = (header: FileHeader): number => {
  const decoded = header.sizes.reduce((sum, { width, height }) => sum + width * height, 0)
  if (header.kind === 'image') return decoded
  const { source, samples } = header
  return decoded + framesHeld * (source === null ? 0 : source.width * source.height) + Math.ceil((samples * 4) / 3)
}

/** Holds memory for a request until the function that it returns is called, or the request is over. @throws OrielError `overloaded` */
export type Hold = (pixels: number, free: () => void) => () => void

/**
 * Bounds the decoded pixels in memory, from the decoder to the engine, over all requests. Beyond the limit it refuses, and
 * one client beyond half of it. A request that is alone is bounded by its own limits only, and however much it holds, half
 * of the limit is left for other clients.
 * @returns `newRequest(client, signal)`, which throws `overloaded` if a limit is reached already. When its signal aborts,
 * everything that the request holds is freed. It returns `hold`, which throws `overloaded` if the pixels of other requests
 * leave no space.
 */
export function boundPixels(limit: number): (client: string, signal: AbortSignal) => Hold {
  const heldBy = new Map<string, number>()
  return (client, signal) => {
    const holding = new Set<() => void>()
    let own = 0
    const count = (pixels: number): void => {
      own += pixels
      heldBy.set(client, (heldBy.get(client) ?? 0) + pixels)
      if (heldBy.get(client) === 0) heldBy.delete(client)
    }
    const check = (pixels: number): void => {
      const mine = heldBy.get(client) ?? 0
      let held = mine
      // One that was alone may hold more than half. It counts as half, so that the other half is left for others.
      for (const [other, theirs] of heldBy) if (other !== client) held += Math.min(theirs, limit / 2)
      if ((mine > own && mine + pixels > limit / 2) || (held > own && held + pixels > limit)) throw tooManyHeld()
    }
    check(1)
    onAbort(signal, () => {
      for (const letGo of holding) letGo()
    })
    return (pixels, free) => {
      check(pixels)
      const letGo = (): void => {
        if (!holding.delete(letGo)) return
        count(-pixels)
        free()
      }
      holding.add(letGo)
      count(pixels)
      if (signal.aborted) letGo()
      return letGo
    }
  }
}

const tooManyHeld = (): OrielError =>
  new OrielError(
    'overloaded',
    'The server holds too many decoded images and sounds of other requests. Try again later.',
    {
      code: 'too_many_pixels',
      retryAfter: 2,
    },
  )
