import { onAbort, orAborted } from '../abort.ts'
import type { AttachmentKind } from '../attachments.ts'
import type { MediaConfig } from '../config.ts'
import { cancelled } from '../errors.ts'
import { Costs } from '../fairness.ts'
import type { Logger } from '../log.ts'
import { Semaphore } from '../semaphore.ts'
import type { AttachmentSource, Loaded, Needs } from './attachment.ts'
import type { FileToDecode, RawImage } from './decoder/decoder-process.ts'
import type { Part } from './decoder/parts.ts'
import { DecoderPool } from './decoder/pool.ts'
import { type FileHeader, type ImageFile, type PartHead, soundRate, type Wanted } from './decoder/protocol.ts'
import type { Fetched } from './fetch/download.ts'
import { createFetcher, type Resolve, wantedUrl } from './fetch/fetch.ts'
import { decodedParts, pixelsLike, seenParts, undecodedSound } from './file-parts.ts'
import { about, inOrder } from './in-order.ts'
import { boundPixels, checkSources, type Hold, pixelsIn, remoteUrlOf, requestBudget } from './limits.ts'
import { loadedFrom } from './loaded.ts'
import { SeenFiles } from './seen-files.ts'
import { type Admit, type Bring, createSender, type Decode, type Reader, type SentFiles } from './sent-files.ts'
import { wantedBy, wantedOnly } from './wanted.ts'

export {
  type AttachmentSource,
  asImages,
  type Frame,
  type Image,
  type Loaded,
  type LoadedAudio,
  type LoadedImages,
  type LoadedVideo,
  type Needs,
  type Sound,
} from './attachment.ts'
export type { ImageFile } from './decoder/protocol.ts'
export { recordingFormats } from './format.ts'
export type { Reader, SentFile, SentFiles } from './sent-files.ts'
export { type Still, stillOf, stillOfUrl } from './still.ts'
export { cutWhereQuiet, surelyCut } from './stretches.ts'

/** Turns the attachments of requests into pixels and samples. All data from outside enters through this room. */
export interface Media {
  /**
   * Checks what needs no data: the number and kinds of attachments, their URL schemes, the size of their base64.
   * @throws OrielError with `param`
   */
  check(sources: readonly AttachmentSource[]): void
  /**
   * Loads all attachments of one request in parallel. The result has the order of the sources.
   * @param needs what the model can use
   * @param signal of the request. The pixels and samples stay in memory until it aborts or `letGo` frees them.
   * @throws OrielError about the first source, in their order, that fails; `param` is set. A source is never left out.
   */
  load(sources: readonly AttachmentSource[], asker: Asker, needs: Needs, signal: AbortSignal): Promise<Loaded[]>
  /**
   * Starts what `load` will need, and fetches URLs, while the request waits for its model. `load` reports the errors.
   * @param signal the one that `load` will be given: it identifies the request
   */
  prefetch(sources: readonly AttachmentSource[], client: string, signal: AbortSignal): void
  /**
   * Brings all attachments of one request as files that another program reads, in parallel, checked as those of `load`. A file
   * goes on as it came, without metadata, if the program reads it as we do; otherwise it becomes one that it reads.
   * What was fetched or made for the same signal is not fetched or made again.
   * @param readerOf what the program reads of a source
   * @param signal of the request. The files stay in memory until it aborts.
   * @throws OrielError as `load` does, and about what the program cannot read
   */
  files(
    sources: readonly AttachmentSource[],
    client: string,
    readerOf: (source: AttachmentSource) => Reader,
    signal: AbortSignal,
  ): Promise<SentFiles[]>
  /**
   * Writes an image as a file that a browser can show.
   * @throws OrielError `overloaded`, `cancelled`, `internal`
   */
  write(image: RawImage, client: string, signal: AbortSignal): Promise<ImageFile>
  /** Starts and reads what the first image would wait for. */
  warm(): Promise<void>
  /** Removes all fetched files from the cache, and forgets what it knows of others. */
  clearCache(): Promise<void>
  /** Stops the decoders; running loads fail. It need not be called before the process exits. */
  close(): Promise<void>
}

export interface Asker {
  /** Whose request it is: clients share decoders, downloads and memory fairly. */
  readonly client: string
  /** What was decoded before is remembered only for requests with an equal key. */
  readonly isolation: string
}

/** @param resolve replaces the resolver of host names, for tests */
export function createMedia(config: MediaConfig, log?: Logger, resolve?: Resolve): Media {
  const fetcher = createFetcher(config, log, resolve)
  const costs = new Costs()
  const decoders = new DecoderPool(config, costs, log)
  const pixelsInFlight = halved(config.maxPixelsInFlight, costs)
  const bytesOf = (kind: AttachmentKind): number => wantedUrl(kind, config).maxBytes
  const downloads = halved(mostImages * config.maxUrlBytes, costs)
  const newRequest = boundPixels(config.maxPixelsHeld)
  const seen = new SeenFiles()
  const prefetches = halved(mostImages * config.maxUrlBytes, costs)
  const prefetched = new WeakMap<AbortSignal, { files: Map<string, Promise<Fetched>>; release(): void }>()
  const takePrefetched = (signal: AbortSignal) => {
    const early = prefetched.get(signal)
    prefetched.delete(signal)
    return early
  }

  /** The file of a source, fetched if it is elsewhere. It takes memory until `release` is called. */
  const bring: Bring = async (source, client, signal, early) => {
    const { kind } = source
    const remote = remoteUrlOf(source)
    const start = performance.now()
    const release = remote === undefined ? () => {} : await downloads.acquire(client, bytesOf(kind), signal)
    try {
      const fetching =
        remote === undefined ? undefined : (early?.get(keyOf(kind, remote)) ?? fetcher.fetch(remote, kind, signal))
      const fetched = fetching && (await orAborted(fetching, signal))
      const payload = fetched?.bytes ?? (source.bytes === undefined ? (source.url ?? '') : source.bytes)
      return { payload, fetched, fetchMs: fetched === undefined ? 0 : performance.now() - start, release }
    } catch (error) {
      release()
      throw error
    }
  }
  const decodeFile: Decode = (client, file, admit, signal) => {
    const acquire = async (header: FileHeader) => pixelsInFlight.acquire(client, await admit(header), signal)
    return decoders.decode(client, file, acquire, signal)
  }

  const loadOne = async (
    source: AttachmentSource,
    { asker, mostPages, wantedOf, budget, admitSound, hold, early }: RequestContext,
    signal: AbortSignal,
  ): Promise<Loaded> => {
    const { param } = source
    if (source.loaded !== undefined) return source.loaded
    const { client, isolation } = asker
    const { payload, fetched, fetchMs, release } = await bring(source, client, signal, early)
    try {
      const times = { fetchMs, decodeMs: 0 }
      const decode = async (payload: FileToDecode['payload'], wanted: Wanted, admit: Admit) => {
        const decodeStart = performance.now()
        const decoded = await decodeFile(client, { payload, options: { wanted, mostPages } }, admit, signal)
        times.decodeMs += performance.now() - decodeStart
        return decoded
      }
      const from = fetched?.from ?? 'request'

      const wanted = wantedOf(source)
      const name = await seen.nameOf({ payload, wanted }, isolation)
      const known = seen.get(name, mostPages)
      if (known === undefined) {
        const held = hold()
        try {
          const { header, parts } = await decode(payload, wanted, async (header) => {
            const pixels = budget(header)
            const { samples = 0 } = header.kind === 'image' ? {} : header
            const isHeard = samples === 0 || (await admitSound?.(source, { samples, seconds: samples / soundRate }))
            if (isHeard === false) throw new LengthOnly(header, samples)
            return pixels
          })
          seen.set(name, { header, parts: parts.map(({ head }) => head) })
          return loadedFrom(header, decodedParts(parts, held), from, times)
        } catch (error) {
          if (!(error instanceof LengthOnly)) throw error
          const { header, samples } = error
          const { parts } =
            wanted.kind === 'video' ? await decode(payload, { ...wanted, sound: false }, pixelsIn) : { parts: [] }
          return loadedFrom(header, [...decodedParts(parts, held), undecodedSound(samples)], from, times)
        }
      }
      budget(known.header)
      let file: typeof payload | undefined = payload
      const forget = (): void => {
        file = undefined
      }
      // What the request brought is counted with its body.
      const letGo = fetched === undefined ? forget : hold()(pixelsLike(fetched.bytes), forget)
      const decodeAgain = async (heads: readonly PartHead[]): Promise<readonly Part[]> => {
        if (file === undefined) throw cancelled()
        return (await decode(file, wantedOnly(wanted, heads), pixelsIn).catch(about(param))).parts
      }
      const parts = seenParts({ heads: known.parts, decode: decodeAgain, letGo }, hold)
      return loadedFrom(known.header, parts, from, times)
    } finally {
      release()
    }
  }

  return {
    check: (sources) => checkSources(sources, config),
    files: createSender({ config, bring, decode: decodeFile, newRequest }),
    async load(sources, asker, needs, signal) {
      if (sources.length === 0) return []
      checkSources(sources, config)
      // Each of the other images is at least one.
      const mostPages = config.maxImages - sources.filter(({ kind }) => kind === 'image').length + 1
      let held: Hold | undefined
      const hold = () => (held ??= newRequest(asker.client, signal))
      const early = takePrefetched(signal)
      const wantedOf = wantedBy(needs, sources, config.maxFrames)
      const { admitSound } = needs
      const budget = requestBudget(config)
      const context = { asker, mostPages, wantedOf, budget, admitSound, hold, early: early?.files }
      const loading = inOrder(sources, signal, (source, stop) =>
        loadOne(source, context, stop).catch(about(source.param)),
      )
      return await loading.finally(() => {
        // What the answer keeps of this load would keep the files too, until the answer ends.
        early?.files.clear()
        early?.release()
      })
    },
    prefetch(sources, client, signal) {
      if (sources.length > 0) void decoders.warm()
      const remote = new Map(
        sources.flatMap((source) => {
          const [kind, url] = [source.kind, remoteUrlOf(source)]
          return url === undefined ? [] : [[keyOf(kind, url), { kind, url }] as const]
        }),
      )
      if (remote.size === 0 || prefetched.has(signal) || signal.aborted) return
      const bytes = [...remote.values()].reduce((sum, { kind }) => sum + bytesOf(kind), 0)
      const release = prefetches.tryAcquire(client, bytes)
      if (release === undefined) return
      onAbort(signal, () => takePrefetched(signal)?.release())
      const files = new Map([...remote].map(([key, { url, kind }]) => [key, fetcher.fetch(url, kind, signal)]))
      for (const fetched of files.values()) fetched.catch(() => {})
      prefetched.set(signal, { files, release })
    },
    write: (image, client, signal) => decoders.write(client, image, signal),
    async clearCache() {
      seen.clear()
      await fetcher.clear()
    },
    async warm() {
      await Promise.all([decoders.warm(), import('undici')])
    },
    close: () => decoders.close(),
  }
}

/**
 * Memory for files that are fetched, or that have been and wait to be decoded, as a number of the largest images; a video takes
 * that of several. As much is for those of requests that wait for their model: further requests fetch theirs afterwards.
 */
const mostImages = 64

/** A bound of which one client has half at most, so that there is always some for another one. */
const halved = (capacity: number, costs: Costs): Semaphore =>
  new Semaphore({ capacity, mostOfOne: Math.ceil(capacity / 2) }, costs)

/** What is fetched of a URL depends on what it should be. */
const keyOf = (kind: AttachmentKind, url: string): string => `${kind} ${url}`

type PixelsOf = (header: FileHeader) => number

/** Ends the decoding of a file whose sound need not be decoded. */
class LengthOnly extends Error {
  readonly header: FileHeader
  readonly samples: number

  constructor(header: FileHeader, samples: number) {
    super('the length of the sound is all that is needed')
    this.header = header
    this.samples = samples
  }
}

interface RequestContext {
  asker: Asker
  /** Downloads that began before the load. */
  early: ReadonlyMap<string, Promise<Fetched>> | undefined
  mostPages: number
  wantedOf(source: AttachmentSource): Wanted
  budget: PixelsOf
  admitSound: Needs['admitSound']
  /** Of the request as a whole. @throws OrielError `overloaded` when it is used first */
  hold: () => Hold
}
