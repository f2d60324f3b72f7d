import type { AttachmentKind } from '../attachments.ts'
import type { MediaConfig } from '../config.ts'
import { free } from '../free.ts'
import type { AttachmentSource } from './attachment.ts'
import type { DecodedFile, FileToDecode } from './decoder/decoder-process.ts'
import type { FileHeader } from './decoder/protocol.ts'
import type { Fetched } from './fetch/download.ts'
import { pixelsLike } from './file-parts.ts'
import { mediaTypeOf } from './format.ts'
import { about, inOrder } from './in-order.ts'
import { checkSources, framesInList, type Hold, remoteUrlOf, requestBudget } from './limits.ts'
import { wantedBy } from './wanted.ts'

/** A program that reads the files of a request: another server. */
export interface Reader {
  /** Formats that it reads, by the names of messages: `png`, `mp4`. Images may become `png` or `jpeg`, and sounds `wav`. */
  readonly formats: readonly string[]
  /** Bytes of one file. Larger images are shrunk, others are refused. */
  readonly mostBytes: number
  /** Larger images are shrunk to it, in pixels. Null: it reads any. */
  readonly longestEdge: number | null
  /** Whether it is told which part of a recording is wanted, and needs the whole. */
  readonly selects: boolean
  /** Whether it reads a video as a list of images. */
  readonly frames: boolean
}

/** A source as files. */
export interface SentFiles {
  readonly kind: AttachmentKind
  /** One, or one for each selected page of a document, or for each frame of a video, which is then `asFrames`. */
  readonly files: readonly SentFile[]
  readonly asFrames: boolean
  /** Times in ms: 0 for a file that came with the request. */
  readonly fetchMs: number
  readonly decodeMs: number
}

export interface SentFile {
  /** By the names of messages. */
  readonly format: string
  /** The media type: `image/png`. */
  readonly type: string
  /** As ASCII. Empty when the request is over. */
  readonly base64: Buffer
}

/** The file of a source, fetched if it is elsewhere. It takes memory until `release` is called. */
export type Bring = (
  source: AttachmentSource,
  client: string,
  signal: AbortSignal,
  /** Downloads that began before. */
  early?: ReadonlyMap<string, Promise<Fetched>>,
) => Promise<{ payload: FileToDecode['payload']; fetched: Fetched | undefined; fetchMs: number; release(): void }>

/** Decodes in the client's turn. */
export type Decode = (client: string, file: FileToDecode, admit: Admit, signal: AbortSignal) => Promise<DecodedFile>

/** @returns pixels that decoding takes @throws OrielError to refuse the file */
export type Admit = (header: FileHeader) => number | Promise<number>

interface Services {
  readonly config: MediaConfig
  readonly bring: Bring
  readonly decode: Decode
  newRequest(client: string, signal: AbortSignal): Hold
}

/** What a request has already: it may ask again, for another reader. */
interface Kept {
  readonly hold: Hold
  /** By URL. */
  readonly fetched: Map<string, Uint8Array>
  /** By the source's data and then by what was wanted of it. */
  readonly made: Map<string | Uint8Array, Map<string, Promise<SentFiles>>>
}

/** Without a choice of a request: as many frames of a video, and as large ones, as most models read. */
const usualFrames = { perSecond: 1, most: 32 }
const usualFrameEdge = 1024

type Send = (
  sources: readonly AttachmentSource[],
  client: string,
  readerOf: (source: AttachmentSource) => Reader,
  signal: AbortSignal,
) => Promise<SentFiles[]>

/** Makes files of sources for another program. Their bytes pass through this process, and are neither read nor encoded in it. */
export function createSender({ config, bring, decode, newRequest }: Services): Send {
  const requests = new WeakMap<AbortSignal, Kept>()
  const keptFor = (client: string, signal: AbortSignal): Kept => {
    const kept = requests.get(signal) ?? { hold: newRequest(client, signal), fetched: new Map(), made: new Map() }
    requests.set(signal, kept)
    return kept
  }

  return async (sources, client, readerOf, signal) => {
    if (sources.length === 0) return []
    checkSources(sources, config)
    const { hold, fetched, made } = keptFor(client, signal)
    // Each of the other images is at least one.
    const mostPages = config.maxImages - sources.filter(({ kind }) => kind === 'image').length + 1
    const budget = requestBudget(config)
    const complete = sources.map(withAllFrames)
    const wantedOf = (source: AttachmentSource, { longestEdge }: Reader) =>
      wantedBy(
        { longestEdge: (longestEdge ?? usualFrameEdge) / 2, video: usualFrames },
        complete,
        config.maxFrames,
      )(source)

    const make = async (source: AttachmentSource, reader: Reader, stop: AbortSignal): Promise<SentFiles> => {
      const { kind } = source
      const url = remoteUrlOf(source)
      const before = url === undefined ? undefined : fetched.get(url)
      const brought = await bring(before === undefined ? source : { kind, param: '', bytes: before }, client, stop)
      try {
        const { payload, fetchMs } = brought
        if (url !== undefined && brought.fetched !== undefined) {
          fetched.set(url, brought.fetched.bytes)
          hold(pixelsLike(brought.fetched.bytes), () => fetched.delete(url))
        }
        const { selects, ...as } = reader
        const options = {
          wanted: wantedOf(source, reader),
          as: { ...as, whole: selects || isWhole(source) },
          mostPages,
        }
        const start = performance.now()
        const { files } = await decode(client, { payload, options }, budget, stop)
        const sent = files.map(({ head: { format }, data }) => {
          hold(pixelsLike(data), () => free(data))
          const { buffer, byteOffset, byteLength } = data
          return { format, type: mediaTypeOf(kind, format), base64: Buffer.from(buffer, byteOffset, byteLength) }
        })
        const asFrames = kind === 'video' && sent.every(({ format }) => format === 'jpeg')
        return { kind, files: sent, asFrames, fetchMs, decodeMs: performance.now() - start }
      } finally {
        brought.release()
      }
    }
    const once = (source: AttachmentSource, stop: AbortSignal): Promise<SentFiles> => {
      const reader = readerOf(source)
      const data = source.url ?? source.bytes
      if (data === undefined) throw new Error('a source that is loaded has no file')
      const { kind, pages, clip, frames } = source
      const wanted = JSON.stringify([kind, pages, clip, frames, reader])
      const ofData = made.get(data) ?? new Map<string, Promise<SentFiles>>()
      made.set(data, ofData)
      const making = ofData.get(wanted) ?? make(source, reader, stop)
      ofData.set(wanted, making)
      making.catch(() => ofData.delete(wanted))
      return making
    }
    return await inOrder(complete, signal, (source, stop) => once(source, stop).catch(about(source.param)))
  }
}

/** A list of images is read as it is, however many there are. */
function withAllFrames(source: AttachmentSource): AttachmentSource {
  const { kind, url, frames } = source
  if (kind !== 'video' || url === undefined || frames?.most !== undefined || remoteUrlOf(source) !== undefined)
    return source
  const listed = framesInList(url, Number.POSITIVE_INFINITY)
  return listed === 0 ? source : { ...source, frames: { ...frames, most: listed } }
}

const isWhole = ({ clip, frames }: AttachmentSource): boolean =>
  [...Object.values(clip ?? {}), ...Object.values(frames ?? {})].every((chosen) => chosen === undefined)
