import type { BufferSource } from 'mediabunny'
import { progress } from './progress.ts'
import { shapeOf } from './shape.ts'

/**
 * What the packages need in order to end. Some damaged files make them read the same place for ever, or wait for samples
 * that never come.
 */

type Codecs = Pick<typeof import('node-webcodecs'), 'AudioDecoder' | 'VideoDecoder'>
type VideoChunk = Parameters<InstanceType<Codecs['VideoDecoder']>['decode']>[0]
type AudioConfig = Parameters<InstanceType<Codecs['AudioDecoder']>['configure']>[0]
type AudioChunk = Parameters<InstanceType<Codecs['AudioDecoder']>['decode']>[0]

/** How often a file may be asked for a part: ten times for each of its bytes, which no whole file needs. */
const mostRequests = (bytes: number): number => 10_000 + 10 * bytes
/** A decoder works only while the event loop is busy: in so many pauses of the loop, each of some ms, something comes of it. */
const pauses = { count: 20, ms: 100 }

/** The bytes of a file. It throws where the package asks for them in a circle. */
export function steadySource(source: BufferSource, bytes: number): BufferSource {
  // Whoever asks for a part looks first whether the file is as long, and reads nothing if it is not.
  const size: unknown = Reflect.get(source, '_getFileSize')
  if (typeof size !== 'function') throw new Error('mediabunny reads in another way')
  let left = mostRequests(bytes)
  Reflect.set(source, '_getFileSize', () => {
    if (--left < 0) throw new Error('the file is read in a circle')
    return size.call(source)
  })
  return source
}

/** The same items. @throws an error if no further one will come */
export async function* untilStall<T>(items: AsyncIterable<T>): AsyncIterable<T> {
  const iterator = items[Symbol.asyncIterator]()
  try {
    for (;;) {
      const stall = new Stall()
      const next = await Promise.race([iterator.next(), stall.promise]).finally(() => stall.end())
      if (next.done) return
      progress()
      yield next.value
    }
  } finally {
    // Not awaited: a generator that stalls never returns.
    iterator.return?.().catch(() => {})
  }
}

/** Rejects after some pauses. */
class Stall {
  readonly promise: Promise<never>
  #timer: NodeJS.Timeout | undefined

  constructor() {
    this.promise = new Promise((_, reject) => {
      const pause = (left: number): void => {
        if (left === 0) reject(new Error('nothing comes of the decoder'))
        else this.#timer = setTimeout(pause, pauses.ms, left - 1)
      }
      pause(pauses.count)
    })
  }

  end(): void {
    clearTimeout(this.#timer)
  }
}

/** The decoders of node-webcodecs, as mediabunny expects them. */
export function steadyDecoders(codecs: Codecs): Codecs {
  // In a thread of its own, the decoder may say that it has ended before it has given all frames.
  class VideoDecoder extends codecs.VideoDecoder {
    override configure(config: Parameters<InstanceType<typeof codecs.VideoDecoder>['configure']>[0]): void {
      super.configure({ ...config, useWorkerThread: false })
    }

    override decode(chunk: VideoChunk): void {
      progress()
      super.decode(chunk)
    }

    // A packet has been decoded when `decode` returns. Whoever waited for the queue would wait for ever.
    override get decodeQueueSize(): number {
      return 0
    }

    // Otherwise it takes no further packets, although a decoder should.
    override async flush(): Promise<void> {
      await super.flush()
      const native: unknown = Reflect.get(this, '_native')
      if (native instanceof Object && 'reset' in native && typeof native.reset === 'function') native.reset()
    }
  }
  class AudioDecoder extends codecs.AudioDecoder {
    #config: AudioConfig | undefined
    #shape: string | undefined

    override configure(config: AudioConfig): void {
      super.configure(config)
      this.#config = config
      this.#shape = undefined
    }

    // The package converts all samples as it converts the first ones. If there were fewer channels later, it would write beyond
    // the end of its memory.
    override decode(chunk: AudioChunk): void {
      progress()
      const packet = new Uint8Array(chunk.byteLength)
      chunk.copyTo(packet)
      const shape = shapeOf(this.#config?.codec ?? '', packet)
      if (this.#shape !== undefined && this.#shape !== shape) this.#begin()
      this.#shape = shape
      super.decode(chunk)
    }

    #begin(): void {
      const native: unknown = Reflect.get(this, '_native')
      if (native instanceof Object && 'close' in native && typeof native.close === 'function') native.close()
      if (this.#config !== undefined) super.configure(this.#config)
    }

    // What has been decoded and not yet given. The package counts packets too of which nothing comes, for ever.
    override get decodeQueueSize(): number {
      return Number(Reflect.get(this, '_pendingCallbacks'))
    }
  }
  return { VideoDecoder, AudioDecoder }
}
