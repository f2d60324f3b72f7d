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
import { choosePages } from './pages.ts'
import { openPdf } from './pdf.ts'
import { openPnm } from './pnm.ts'
import type { DecodeOptions, FromDecoder, ToDecoder } from './protocol.ts'
import { openRaster } from './raster.ts'

/** A decoder: the process in which bytes from outside meet native code. It holds one file at a time and no secrets. */

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

let decide: (go: boolean) => void = () => {}
/** Of the file at hand. */
let format: Format | undefined

readFrames(server, (frame, payload) => {
  const message = frame as ToDecoder
  if (message.type === 'file') void decode(payload, message.encoding, message.options)
  else decide(message.type === 'go')
})
// The server is gone, and so is the reason to be here.
server.on('close', () => process.exit())
server.on('error', () => process.exit())
// libheif-js decodes where nobody can catch what it throws.
process.on('uncaughtException', (error) => send({ type: 'failed', error: described(error, format), worn: true }))
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
      decide = resolve
    })
    send({ type: 'header', header: { format, bytes: bytes.length, pages: file.pages, sizes } })
    if (await go)
      for await (const { width, height, rgb, original, page } of file.render(pages, options.longestEdge)) {
        const hash = hashOf(rgb, width, height)
        send({ type: 'picture', head: { width, height, hash, original, page: page + 1 } }, rgb)
      }
    send({ type: 'done', worn: worn() })
  } catch (error) {
    send({ type: 'failed', error: described(error, format), worn: worn(error) })
  } finally {
    file?.close()
  }
}

/** Allocators do not give back what a large picture took, and a library in WebAssembly that has trapped stays broken. */
const worn = (error?: unknown): boolean =>
  process.memoryUsage.rss() > mostResidentBytes || (error instanceof Error && error.name === 'RuntimeError')
const mostResidentBytes = 600_000_000

/** As UTF-8 says; megabytes of base64 are told apart from that a good deal faster. */
const textOf = (bytes: Buffer): string => bytes.toString(isAscii(bytes) ? 'latin1' : 'utf8')

function formatOf(bytes: Buffer): Format {
  const sniffed = sniff(bytes)
  if (sniffed.known) return sniffed.format
  throw new OrielError(
    'unsupported_media',
    `The picture cannot be read: its data is ${sniffed.looksLike}. What is read: ${formats.join(', ')}.`,
    { code: 'unsupported_image' },
  )
}

function pagesOf(file: OpenedFile, { pages, mostPages }: DecodeOptions): number[] {
  const wanted = pages ?? (file.byDefault === 'all' ? 'all' : '1')
  return choosePages(wanted, file.pages, mostPages, file.noun)
}

/**
 * Of everything that makes a picture that one: the same pixels in another shape are another picture. A cryptographic hash,
 * since people share what is cached under it, and with a faster one (xxh3) anybody could make two pictures that collide.
 * It costs 3 ms for the largest picture that travels, a small part of decoding it, and here it holds up nobody.
 */
function hashOf(rgb: Uint8Array, width: number, height: number): string {
  return createHash('sha256').update(`${width}x${height}x3:`).update(rgb).digest('base64url')
}

/** What libraries say of a file stays here: it may hold addresses, and no client can use it. */
function described(error: unknown, format: Format | undefined): WireError {
  if (error instanceof OrielError) return toWire(error, '')
  const text = error instanceof Error ? error.message : ''
  if (
    /\b(not |un)supported\b|not been built in|bad labq format/.test(text) &&
    !text.includes('contains unsupported image format')
  )
    return {
      kind: 'unsupported_media',
      message: `The picture cannot be decoded: its ${format ?? ''} data is of a variant that is not read here. Send it as png or jpeg.`,
      code: 'unsupported_image',
    }
  return {
    kind: 'unreadable_media',
    message: `The picture cannot be decoded: its ${format ?? ''} data is damaged or not complete.`,
    code: 'invalid_image',
  }
}
