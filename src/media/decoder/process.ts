import { isAscii } from 'node:buffer'
import { createHash } from 'node:crypto'
import { Socket } from 'node:net'
import { toWire, type WireError } from '../../children/index.ts'
import { OrielError } from '../../errors.ts'
import { type Format, formats, sniff } from '../format.ts'
import { openBmp } from './bmp.ts'
import { decodeDataUrl } from './data-url.ts'
import { readFrames, writeFrame } from './frames.ts'
import { openHeif } from './heif.ts'
import type { OpenedFile, OpenFile } from './opened-file.ts'
import { selectPages } from './pages.ts'
import { openPdf } from './pdf.ts'
import { openPnm } from './pnm.ts'
import type { DecodeOptions, FromDecoder, Size, ToDecoder } from './protocol.ts'
import { openRaster } from './raster.ts'
import { writeImage } from './write.ts'

/**
 * Entry of a decoder process. Native decoders handle untrusted bytes only in such a process. It holds one file at a time
 * and no secrets.
 */

const openers: Record<Format, OpenFile> = {
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

const server = new Socket({ fd: 3 })
const send = (message: FromDecoder, payload?: Uint8Array): void => writeFrame(server, message, payload)

let answerHeader: (go: boolean) => void = () => {}
/** Of the current file, once it is known. */
let format: Format | undefined

readFrames(server, (frame, payload) => {
  const message = frame as ToDecoder
  if (message.type === 'file') void decode(payload, message.encoding, message.options)
  else if (message.type === 'pixels') void write(message.size, payload)
  else answerHeader(message.type === 'go')
})
// A terminal sends these signals to the whole process group. The server decides when the decoder ends.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
// The server has exited.
server.on('close', () => process.exit())
server.on('error', () => process.exit())
// libheif-js throws from a callback, where no try block can catch it.
process.on('uncaughtException', (error) => send({ type: 'failed', error: clientError(error, format), worn: true }))
send({ type: 'ready' })

async function decode(payload: Buffer, encoding: 'bytes' | 'url', options: DecodeOptions): Promise<void> {
  format = undefined
  let file: OpenedFile | undefined
  try {
    const bytes = encoding === 'url' ? decodeDataUrl(textOf(payload)) : payload
    format = formatOf(bytes)
    file = await openers[format](bytes, format)
    const pages = pagesOf(file, options)
    const sizes = []
    for (const page of pages) sizes.push(await file.size(page, options.longestEdge))
    const go = new Promise<boolean>((resolve) => {
      answerHeader = resolve
    })
    send({ type: 'header', header: { format, bytes: bytes.length, pages: file.pages, sizes } })
    if (await go)
      for await (const { width, height, rgb, original, page } of file.render(pages, options.longestEdge)) {
        const hash = hashOf(rgb, width, height)
        send({ type: 'image', head: { width, height, hash, original, page: page + 1 } }, rgb)
      }
    send({ type: 'done', worn: isWorn() })
  } catch (error) {
    send({ type: 'failed', error: clientError(error, format), worn: isWorn(error) })
  } finally {
    file?.close()
  }
}

async function write(size: Size, rgb: Buffer): Promise<void> {
  try {
    const { format, bytes } = await writeImage(size, rgb)
    send({ type: 'written', format }, bytes)
    send({ type: 'done', worn: isWorn() })
  } catch (error) {
    send({ type: 'failed', error: toWire(error, 'The image could not be written.'), worn: isWorn() })
  }
}

/** Allocators do not return the memory of a large image, and a WebAssembly library that has trapped stays broken. */
const isWorn = (error?: unknown): boolean =>
  process.memoryUsage.rss() > maxResidentBytes || (error instanceof Error && error.name === 'RuntimeError')
const maxResidentBytes = 600_000_000

/** Decodes UTF-8. The check for ASCII makes megabytes of base64 several times faster. */
const textOf = (bytes: Buffer): string => bytes.toString(isAscii(bytes) ? 'latin1' : 'utf8')

function formatOf(bytes: Buffer): Format {
  const sniffed = sniff(bytes)
  if (sniffed.known) return sniffed.format
  throw new OrielError(
    'unsupported_media',
    `The image cannot be decoded: the data is ${sniffed.looksLike}. Supported formats: ${formats.join(', ')}.`,
    { code: 'unsupported_image' },
  )
}

function pagesOf(file: OpenedFile, { pages, maxPages }: DecodeOptions): number[] {
  const selection = pages ?? (file.byDefault === 'all' ? 'all' : '1')
  return selectPages(selection, file.pages, maxPages, file.noun)
}

/**
 * Covers the size too, because the same pixels in another shape are another image. The hash is cryptographic because
 * users share what is cached under it: with a faster hash such as xxh3, a user could construct two images that collide.
 * It takes 3 ms for the largest image that is sent, a small part of decoding it.
 */
function hashOf(rgb: Uint8Array, width: number, height: number): string {
  return createHash('sha256').update(`${width}x${height}x3:`).update(rgb).digest('base64url')
}

/** The messages of libraries are not passed on: they may contain addresses, and they do not help a client. */
function clientError(error: unknown, format: Format | undefined): WireError {
  if (error instanceof OrielError) return toWire(error, '')
  const text = error instanceof Error ? error.message : ''
  const data = format === undefined ? 'data' : `${format} data`
  if (
    /\b(not |un)supported\b|not been built in|bad labq format/.test(text) &&
    !text.includes('contains unsupported image format')
  )
    return {
      kind: 'unsupported_media',
      message: `The image cannot be decoded: its ${data} uses a variant of the format that is not supported. Send the image as png or jpeg.`,
      code: 'unsupported_image',
    }
  return {
    kind: 'unreadable_media',
    message: `The image cannot be decoded: its ${data} is damaged or incomplete.`,
    code: 'invalid_image',
  }
}
