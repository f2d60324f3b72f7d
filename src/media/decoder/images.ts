import { OrielError } from '../../errors.ts'
import { type ImageFormat, imageFormats, sniffImage } from '../format.ts'
import { openBmp } from './bmp.ts'
import { openHeif } from './heif.ts'
import type { OpenedFile, OpenFile } from './opened-file.ts'
import { selectPages } from './pages.ts'
import { type Opened, partOfImage } from './parts.ts'
import { openPdf } from './pdf.ts'
import { openPnm } from './pnm.ts'
import type { WantedImages } from './protocol.ts'
import { openRaster } from './raster.ts'

const openers: Record<ImageFormat, OpenFile> = {
  png: openRaster,
  jpeg: openRaster,
  gif: openRaster,
  tiff: openRaster,
  webp: openRaster,
  avif: openRaster,
  bmp: openBmp,
  pnm: openPnm,
  heic: openHeif,
  pdf: openPdf,
}

/**
 * Opens a file with images.
 * @param onFormat called when the format is known
 * @throws OrielError, or any other error if the file is damaged
 */
export async function openImages(
  bytes: Buffer,
  { pages, longestEdge }: WantedImages,
  mostPages: number,
  onFormat: (format: ImageFormat) => void,
): Promise<Opened> {
  const { format, file } = await openImageFile(bytes, onFormat)
  try {
    const selection = pages ?? (file.byDefault === 'all' ? 'all' : '1')
    const selected = selectPages(selection, file.pages, mostPages, file.noun)
    const sizes = []
    for (const page of selected) sizes.push(await file.size(page, longestEdge))
    return {
      header: { kind: 'image', format, bytes: bytes.length, pages: file.pages, sizes },
      async *parts() {
        for await (const { page, ...image } of file.render(selected, longestEdge)) yield partOfImage(image, page + 1, 0)
      },
      close: () => file.close(),
    }
  } catch (error) {
    file.close()
    throw error
  }
}

/**
 * @param onFormat called when the format is known, before anything else can fail
 * @throws OrielError `unsupported_media`, or any other error if the file is damaged
 */
export async function openImageFile(
  bytes: Buffer,
  onFormat: (format: ImageFormat) => void = () => {},
): Promise<{ format: ImageFormat; file: OpenedFile }> {
  const sniffed = sniffImage(bytes)
  if (!sniffed.known)
    throw new OrielError(
      'unsupported_media',
      `The image cannot be decoded: the data is ${sniffed.looksLike}. Supported formats: ${imageFormats.join(', ')}.`,
      { code: 'unsupported_image' },
    )
  const { format } = sniffed
  onFormat(format)
  return { format, file: await openers[format](bytes, format) }
}
