import { isAscii } from 'node:buffer'
import type { AttachmentKind } from '../../attachments.ts'
import { openFrames, toWire, type WireError, writeFrame } from '../../children/index.ts'
import { OrielError } from '../../errors.ts'
import { decodeDataUrl } from './data-url.ts'
import { openImages, openImagesAsFiles } from './images.ts'
import type { FileOut, Opened, Part } from './parts.ts'
import { type DecodeOptions, type FromDecoder, type Size, socketFd, type ToDecoder } from './protocol.ts'
import { asFile } from './recordings/as-file.ts'
import { isList, openList } from './recordings/list.ts'
import { openRecording } from './recordings/open.ts'
import { onProgress } from './recordings/progress.ts'
import { writeImage } from './write.ts'

/**
 * Entry of a decoder process. Native decoders handle untrusted bytes only in such a process. It holds one file at a time
 * and no secrets.
 */

const server = openFrames(socketFd, {
  onFrame(frame, payload) {
    const message = frame as ToDecoder
    if (message.type === 'file') void decode(payload, message.encoding, message.options)
    else if (message.type === 'pixels') void write(message.size, payload)
    else answerHeader(message.type === 'go')
  },
})
const send = (message: FromDecoder, payload?: Uint8Array): void => writeFrame(server, message, payload)

let answerHeader: (go: boolean) => void = () => {}
/** What the current file is, as far as it is known. */
let current: { kind: AttachmentKind; format: string | null } = { kind: 'image', format: null }

// A terminal sends these signals to the whole process group. The server decides when the decoder ends.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
// The server has exited.
server.on('close', () => process.exit())
server.on('error', () => process.exit())
// Libraries throw from callbacks, where no try block can catch it.
process.on('uncaughtException', (error) => send({ type: 'failed', error: clientError(error), worn: true }))
send({ type: 'ready' })

async function decode(payload: Buffer, encoding: 'bytes' | 'url', options: DecodeOptions): Promise<void> {
  current = { kind: options.wanted.kind, format: null }
  let file: Opened<Part | FileOut> | undefined
  onProgress(() => send({ type: 'progress' }))
  try {
    file = await open(payload, encoding, options)
    const go = new Promise<boolean>((resolve) => {
      answerHeader = resolve
    })
    send({ type: 'header', header: file.header })
    if (await go) for await (const { head, data } of file.parts()) send({ type: 'part', head }, data)
    end({ type: 'done', worn: isWorn() })
  } catch (error) {
    end({ type: 'failed', error: clientError(error), worn: isWorn(error) })
  } finally {
    file?.close()
  }
}

/** The last message about a file. */
function end(message: FromDecoder): void {
  onProgress(() => {})
  send(message)
}

async function open(
  payload: Buffer,
  encoding: 'bytes' | 'url',
  { wanted, as, mostPages }: DecodeOptions,
): Promise<Opened<Part | FileOut>> {
  const text = encoding === 'url' ? textOf(payload) : null
  const onFormat = (format: string): void => {
    current = { kind: wanted.kind, format }
  }
  const recording = (opened: Opened, bytes: Buffer | null): Opened<Part | FileOut> => {
    if (as === undefined) return opened
    try {
      return asFile(opened, bytes, as)
    } catch (error) {
      opened.close()
      throw error
    }
  }
  if (wanted.kind === 'video' && text !== null && isList(text))
    return recording(await openList(text, wanted, onFormat), null)
  const bytes = text === null ? payload : decodeDataUrl(text, wanted.kind)
  if (wanted.kind !== 'image') return recording(await openRecording(bytes, wanted, onFormat), bytes)
  return as === undefined
    ? openImages(bytes, wanted, mostPages, onFormat)
    : openImagesAsFiles(bytes, wanted, as, mostPages, onFormat)
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

/** The messages of libraries are not passed on: they may contain addresses, and they do not help a client. */
function clientError(error: unknown): WireError {
  if (error instanceof OrielError) return toWire(error, '')
  const { kind, format } = current
  const text = error instanceof Error ? error.message : ''
  const data = format === null ? 'data' : `${format} data`
  if (
    kind === 'image' &&
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
    message: `The ${kind} cannot be decoded: its ${data} is damaged or incomplete.`,
    code: `invalid_${kind}`,
  }
}
