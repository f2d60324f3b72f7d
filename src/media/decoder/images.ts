import { OrielError } from '../../errors.ts'
import { type ImageFormat, imageFormats, sniffImage } from '../format.ts'
import { bareFile } from './bare.ts'
import { openBmp } from './bmp.ts'
import { openHeif } from './heif.ts'
import type { OpenedFile, OpenFile } from './opened-file.ts'
import { selectPages } from './pages.ts'
import { type FileOut, type Opened, partOfFile, partOfImage } from './parts.ts'
import { openPdf } from './pdf.ts'
import { openPnm } from './pnm.ts'
import type { ImagesHeader, WantedFile, WantedImages } from './protocol.ts'
import { openRaster } from './raster.ts'
import { writeWithin } from './write.ts'

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
  wanted: WantedImages,
  mostPages: number,
  onFormat: (format: ImageFormat) => void,
): Promise<Opened> {
  const { header, file, selected } = await openPages(bytes, wanted, mostPages, onFormat)
  return {
    header,
    async *parts() {
      for await (const { page, ...image } of file.render(selected, wanted.longestEdge))
        yield partOfImage(image, page + 1, 0)
    },
    close: () => file.close(),
  }
}

/** The same for a program that reads files: they go on as they came if it reads them as we do. */
export async function openImagesAsFiles(
  bytes: Buffer,
  wanted: WantedImages,
  as: WantedFile,
  mostPages: number,
  onFormat: (format: ImageFormat) => void,
): Promise<Opened<FileOut>> {
  const isPdf = sniffImage(bytes)
  const longestEdge = as.longestEdge ?? (isPdf.known && isPdf.format === 'pdf' ? pageEdge : Number.MAX_SAFE_INTEGER)
  // Images are decoded at twice what is asked for.
  const half = longestEdge / 2
  const { header, file, selected } = await openPages(bytes, { ...wanted, longestEdge: half }, mostPages, onFormat)
  const { format, sizes } = header
  const fits = sizes.every(({ width, height }) => Math.max(width, height) <= longestEdge)
  return {
    header,
    async *parts() {
      const mayGoOn = fits && selected.length === 1 && selected[0] === 0 && as.formats.includes(format)
      const bare = mayGoOn && (await file.isPlain?.()) ? bareFile(format, bytes) : null
      if (bare !== null && bare.length <= as.mostBytes) yield partOfFile(format, bare)
      else
        for await (const image of file.render(selected, half)) {
          const written = await writeWithin(image, as.mostBytes)
          yield partOfFile(written.format, written.bytes)
        }
    },
    close: () => file.close(),
  }
}

/** Of a page for a program that takes images of any size. One of A4 is 2,339 pixels high in our resolution. */
const pageEdge = 4096

async function openPages(
  bytes: Buffer,
  { pages, longestEdge }: WantedImages,
  mostPages: number,
  onFormat: (format: ImageFormat) => void,
): Promise<{ header: ImagesHeader; file: OpenedFile; selected: readonly number[] }> {
  const { format, file } = await openImageFile(bytes, onFormat)
  try {
    const selection = pages ?? (file.byDefault === 'all' ? 'all' : '1')
    const selected = selectPages(selection, file.pages, mostPages, file.noun)
    const sizes = []
    for (const page of selected) sizes.push(await file.size(page, longestEdge))
    return { header: { kind: 'image', format, bytes: bytes.length, pages: file.pages, sizes }, file, selected }
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
