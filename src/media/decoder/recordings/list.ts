import sharp from 'sharp'
import { OrielError } from '../../../errors.ts'
import type { ImageFormat } from '../../format.ts'
import { sniffImage } from '../../format.ts'
import { dataAt, decodeDataUrl } from '../data-url.ts'
import { openImageFile } from '../images.ts'
import type { OpenedFile } from '../opened-file.ts'
import type { Opened } from '../parts.ts'
import type { Size, WantedVideo } from '../protocol.ts'
import { openVideo } from './open.ts'
import { progress } from './progress.ts'
import type { Recording } from './recording.ts'

/** Whether a video is sent as a list of images: `data:video/jpeg;base64,<frame>,<frame>`, or only one of them. */
export function isList(url: string): boolean {
  const at = dataAt(url)
  if (at === null) return false
  return url.includes(',', at) || sniffImage(Buffer.from(url.slice(at, at + 400), 'base64')).known
}

/**
 * Opens a list of images as a video, of which each is shown until the next one. Unless the request says how many there are in
 * a second, there is one.
 * @param onFormat called when the format is known
 * @throws OrielError, or any other error if an image is damaged
 */
export async function openList(
  url: string,
  wanted: WantedVideo,
  onFormat: (format: ImageFormat) => void,
): Promise<Opened> {
  const at = dataAt(url) ?? 0
  const head = url.slice(0, at)
  const files: OpenedFile[] = []
  const close = (): void => {
    for (const file of files) file.close()
  }
  try {
    const sizes: Size[] = []
    let bytes = 0
    for (const image of url.slice(at).split(',')) {
      const data = decodeDataUrl(head + image, 'video')
      const { format, file } = await openImageFile(data)
      onFormat(format)
      files.push(file)
      bytes += data.length
      sizes.push(await file.size(0, wanted.longestEdge))
    }
    const [first] = sizes
    if (first === undefined) throw new Error('no images')
    const other = sizes.find(({ width, height }) => width !== first.width || height !== first.height)
    if (other !== undefined) throw differentSizes(first, other)
    return openVideo(recordingOf(files, first, wanted.perSecond ?? 1, close), wanted, 'frames', bytes)
  } catch (error) {
    close()
    throw error
  }
}

const recordingOf = (files: readonly OpenedFile[], picture: Size, perSecond: number, close: () => void): Recording => ({
  ...{ seconds: files.length / perSecond, picture, perSecond, hears: false, close },
  async *frames(times, size) {
    // A time may be a rounding error before that of its image.
    for (const time of times) yield await pixelsOf(files[Math.floor(time * perSecond + 0.001)], size)
  },
  sound: async () => new Float32Array(),
})

async function pixelsOf(file: OpenedFile | undefined, size: Size): Promise<Uint8Array> {
  progress()
  // Images come at most twice as long as this.
  for await (const { width, height, rgb } of file?.render([0], Math.max(size.width, size.height) / 2) ?? []) {
    if (width === size.width && height === size.height) return rgb
    return await sharp(rgb, { raw: { width, height, channels: 3 } })
      .resize(size.width, size.height, { fit: 'fill' })
      .raw()
      .toBuffer()
  }
  throw new Error('no image')
}

const differentSizes = (first: Size, other: Size): OrielError =>
  new OrielError(
    'invalid',
    `The frames of the video must have one size: one is ${first.width} x ${first.height} pixels, and another one ${other.width} x ${other.height}.`,
    { code: 'invalid_video' },
  )
