import { OrielError } from '../../../errors.ts'
import type { ImageFormat } from '../../format.ts'
import { sniffImage } from '../../format.ts'
import { dataAt, decodeDataUrl } from '../data-url.ts'
import { openImageFile } from '../images.ts'
import type { OpenedFile } from '../opened-file.ts'
import { type Opened, partOfImage } from '../parts.ts'
import type { Size, WantedVideo } from '../protocol.ts'
import { evenTimes } from './times.ts'

/** Whether a video is sent as a list of images: `data:video/jpeg;base64,<frame>,<frame>`, or only one of them. */
export function isList(url: string): boolean {
  const at = dataAt(url)
  if (at === null) return false
  return url.includes(',', at) || sniffImage(Buffer.from(url.slice(at, at + 400), 'base64')).known
}

/**
 * Opens a list of images as a video. Without a choice of how many a second, there is one.
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
  const images = url.slice(at).split(',')
  const files: OpenedFile[] = []
  const close = (): void => {
    for (const file of files) file.close()
  }
  try {
    const seconds = images.length / wanted.perSecond
    const chosen = wanted.only?.times ?? timesOf(seconds, wanted)
    const sizes: Size[] = []
    const bytes: number[] = []
    for (const time of chosen) {
      const file = decodeDataUrl(head + images[Math.round(time * wanted.perSecond)], 'video')
      const opened = await openImageFile(file)
      onFormat(opened.format)
      files.push(opened.file)
      bytes.push(file.length)
      sizes.push(await opened.file.size(0, wanted.longestEdge))
    }
    const [first] = sizes
    const other = sizes.find(({ width, height }) => width !== first?.width || height !== first.height)
    if (first !== undefined && other !== undefined) throw differentSizes(first, other)
    return {
      header: {
        ...{ kind: 'video', format: 'frames', bytes: bytes.reduce((sum, one) => sum + one, 0), seconds },
        ...{ source: first ?? null, sizes, samples: 0 },
      },
      async *parts() {
        for (const [at, file] of files.entries())
          for await (const { page: _, ...image } of file.render([0], wanted.longestEdge / 2))
            yield partOfImage(image, at + 1, chosen[at] ?? 0)
      },
      close,
    }
  } catch (error) {
    close()
    throw error
  }
}

/** At equal distances, as far as there are images. */
const timesOf = (seconds: number, { perSecond, most }: WantedVideo): number[] =>
  evenTimes(0, seconds, perSecond, most).map((time) => Math.floor(time * perSecond + 0.001) / perSecond)

const differentSizes = (first: Size, other: Size): OrielError =>
  new OrielError(
    'invalid',
    `The frames of the video must have one size: one is ${first.width} x ${first.height} pixels, and another one ${other.width} x ${other.height}.`,
    { code: 'invalid_video' },
  )
