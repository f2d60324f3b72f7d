import type { BufferSource } from 'mediabunny'

/**
 * What the packages need in order to end. Some damaged files make them read the same place for ever, or wait for samples
 * that never come.
 */

type Codecs = Pick<typeof import('node-webcodecs'), 'AudioDecoder' | 'VideoDecoder'>

/** Reads from one place in a row. No whole file needs more than a few. */
const mostReads = 1000
/** A decoder works only while the event loop is busy: in so many pauses of the loop, each of some ms, something comes of it. */
const pauses = { count: 20, ms: 100 }

/** The bytes of a file. It throws where the package does not go on reading. */
export function steadySource(source: BufferSource): BufferSource {
  const read: unknown = Reflect.get(source, '_read')
  if (typeof read !== 'function') throw new Error('mediabunny reads in another way')
  let [place, reads] = [-1, 0]
  Reflect.set(source, '_read', (start: number, ...rest: unknown[]) => {
    reads = start === place ? reads + 1 : 0
    place = start
    if (reads > mostReads) throw new Error('the file is read in a circle')
    return read.call(source, start, ...rest)
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
    // What has been decoded and not yet given. The package counts packets too of which nothing comes, for ever.
    override get decodeQueueSize(): number {
      return Number(Reflect.get(this, '_pendingCallbacks'))
    }
  }
  return { VideoDecoder, AudioDecoder }
}
