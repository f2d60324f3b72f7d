import { describe, expect, it } from 'vitest'
import { type Deferred, deferred } from '../../src/deferred.ts'
import type { AudioArchitecture, AudioChunk } from '../../src/encoders/index.ts'
import { Cores } from '../../src/engine/cores.ts'
import type { AttachmentEncoder } from '../../src/engine/encoder.ts'
import type { PromptPiece } from '../../src/engine/index.ts'
import { Scheduler } from '../../src/engine/scheduler.ts'
import { architecture, embeddingsOf, imageOf, KvModel, slowEncoder } from '../support/kv-model.ts'
import { engineSettings, requestOf } from '../support/pocket.ts'

const tick = () => new Promise((resolve) => setImmediate(resolve))

/** Images of two tiles each. @param from the first one's hash, a number */
const images = (from: number, count: number): PromptPiece[] => [
  ...Array.from({ length: count }, (_, i) => imageOf(String(from + i), 3)),
  { kind: 'text', text: '?', special: true },
]

/**
 * @param cells of the KV memory, of which an image takes six
 * @param later images, by request and hash, whose pixels are not decoded when they are first asked for
 * @param hears whether the model hears, and takes `stretches` to hear a sound
 */
function open(cells: number, later: readonly string[] = [], hears = false) {
  const order: string[] = []
  const encoder = slowEncoder(6, order)
  const ends: number[] = []
  const asked: string[] = []
  const decodes = new Map<string, Deferred<void>>()
  const decoding = (name: string): Deferred<void> => {
    const one = decodes.get(name) ?? deferred<void>()
    decodes.set(name, one)
    return one
  }
  const letGo: string[] = []
  const failures: unknown[] = []
  /** Whether the engine was idle whenever it had told all. */
  const idle: boolean[] = []
  const scheduler: Scheduler = new Scheduler({
    decoder: new KvModel(cells, 260, true).decoder,
    architectures: { images: architecture, audio: hears ? ears : null },
    encoder: hears ? hearing(encoder, order) : encoder,
    cores: new Cores(1),
    settings: { ...engineSettings, maxSequences: 8, prefixCacheBytes: 1 },
    port: {
      emit(id, event) {
        if (event.type === 'done') ends.push(id)
      },
      fail: (_, error) => failures.push(error),
      answer() {},
      flush: () => idle.push(scheduler.isIdle),
      async payload(id, { attachment }) {
        const name = `${id} ${attachment.hash}`
        const isLater = later.includes(name) && !asked.includes(name)
        asked.push(name)
        await tick()
        return isLater ? { decoded: decoding(name).promise } : new Uint8Array()
      },
      letGo: (id, { attachment }) => letGo.push(`${id} ${attachment.hash}`),
    },
  })
  const submit = (id: number, prompt: readonly PromptPiece[], client = 'one'): void =>
    scheduler.submit(id, requestOf(prompt, { client, maxTokens: 3, cachePrompt: false, overflow: 'truncate' }))
  const until = async (done: () => boolean): Promise<void> => {
    for (let ticks = 0; !done(); ticks++) {
      await tick()
      if (ticks > 20_000) throw new Error(`no progress: ${JSON.stringify(scheduler.state)}`)
    }
  }
  const decoded = (id: number, hash: string): void => decoding(`${id} ${hash}`).resolve()
  return { scheduler, submit, until, order, ends, asked, letGo, failures, idle, decoded }
}

/** A sound has two chunks of one token each. */
const ears = {
  plan(samples) {
    const chunk = (first: number): AudioChunk => ({ from: 0, to: samples, first, frames: 1, tokens: 1 })
    return { samples, name: String(samples), layout: [chunk(0), chunk(1)] }
  },
} as Partial<AudioArchitecture> as AudioArchitecture

const stretches = 40

/** Hears a sound before it encodes its chunks. @param order receives `sound <hash>` for each stretch and each chunk */
function hearing(images: AttachmentEncoder, order: string[]): AttachmentEncoder {
  const heard = new Map<string, number>()
  return {
    ...images,
    get busy() {
      return images.busy
    },
    has: ({ attachment: { hash } }) => heard.has(hash),
    async encode(span, bytes) {
      if (span.kind === 'image') return images.encode(span, bytes)
      const { hash } = span.attachment
      if ((bytes === null) !== heard.has(hash)) throw new Error('the samples come once')
      const times = (heard.get(hash) ?? 0) + 1
      heard.set(hash, times)
      order.push(`sound ${hash}`)
      await tick()
      if (times <= stretches) return { embeddings: null, ms: 0, preparingMs: 5000 }
      return {
        embeddings: embeddingsOf(hash, 2).subarray(span.chunk.first, span.chunk.first + 1),
        ms: 1,
        preparingMs: 0,
      }
    },
  }
}

const sound = (hash: string): PromptPiece[] => [
  { kind: 'audio', samples: 9, hash, sound: { decode: async () => new Float32Array(9), letGo() {} } },
  { kind: 'text', text: '?', special: true },
]

describe('a long sound', () => {
  it('does not delay an image of another client', async () => {
    const { submit, until, order, ends, letGo } = open(2000, [], true)
    submit(0, sound('7'), 'one')
    await until(() => order.length === 3)
    submit(1, images(100, 2), 'two')
    await until(() => ends.length === 1)
    expect(ends).toEqual([1])
    expect(order.length).toBeLessThan(20)
    await until(() => ends.length === 2)
    expect(order.filter((name) => name === 'sound 7')).toHaveLength(stretches + 2)
    expect(letGo).toContain('0 7')
  })

  it('costs its client turns while it is heard', async () => {
    const { submit, until, order } = open(2000, [], true)
    submit(0, sound('7'), 'one')
    await until(() => order.length === 10)
    submit(1, images(100, 20), 'two')
    await until(() => order.length === 50)
    // A stretch has cost as much as thousands of tiles.
    expect(order.slice(12).filter((name) => name === 'sound 7').length).toBeLessThan(5)
  })

  it('is heard to its end before the next one', async () => {
    const { submit, until, order, ends } = open(2000, [], true)
    submit(0, sound('7'), 'one')
    await until(() => order.length === 3)
    submit(1, sound('8'), 'two')
    submit(2, images(100, 2), 'two')
    await until(() => ends.length === 3)
    expect(order.indexOf('sound 8')).toBeGreaterThan(stretches)
  })

  it('does not stop the others when it is cancelled', async () => {
    const { scheduler, submit, until, order, ends } = open(2000, [], true)
    submit(0, sound('7'), 'one')
    await until(() => order.length === 3)
    submit(1, sound('8'), 'two')
    scheduler.cancel(0)
    await until(() => ends.length === 1)
    expect(ends).toEqual([1])
    expect(order.filter((name) => name === 'sound 7').length).toBeLessThan(6)
  })
})

describe('the order of encoding', () => {
  it('does not delay one image by the many of other requests', async () => {
    const { submit, until, order, ends } = open(2000)
    for (const id of [0, 1, 2, 3]) submit(id, images(id * 100, 30))
    await until(() => order.length === 5)
    submit(4, images(999, 1))
    await until(() => ends.length > 0)
    expect(ends).toEqual([4])
    expect(order.length).toBeLessThan(12)
    await until(() => ends.length === 5)
    expect(ends).toEqual([4, 0, 1, 2, 3])
    expect(order).toHaveLength(4 * 60 + 2)
  })

  it('encodes many images of a request while requests with one image keep coming', async () => {
    const { submit, until, order, ends } = open(2000)
    submit(0, images(0, 30))
    let next = 1
    for (; !ends.includes(0) && next < 500; next++) {
      submit(next, images(100 + next * 2, 1))
      await until(() => ends.includes(next) || ends.includes(0))
    }
    // One tile of the many for each single image: as many turns as it has tiles.
    expect(order.length).toBeLessThan(2.5 * 60)
    expect(ends).toContain(0)
  })

  it('encodes an image once for all requests that wait for it', async () => {
    const { submit, until, order, ends } = open(2000)
    for (const id of [0, 1, 2]) submit(id, images(0, 5))
    await until(() => ends.length === 3)
    expect(order).toHaveLength(10)
  })

  it('encodes for running requests first, and of the queue only for the next ones', async () => {
    const { scheduler, submit, until, asked, ends } = open(70)
    for (let id = 0; id < 20; id++) submit(id, images(id * 100, 6))
    await until(() => scheduler.state.running > 0)
    for (let ticks = 0; ticks < 60; ticks++) await tick()
    expect(asked.filter((one) => !one.startsWith('0 '))).toEqual([])
    let most = 0
    await until(() => {
      const newest = Math.max(...asked.map((one) => Number.parseInt(one, 10)))
      most = Math.max(most, newest - ends.length)
      return ends.length === 20
    })
    expect(most).toBeLessThanOrEqual(3)
  })

  it('requests pixels when their turn is near, and lets them go when all tiles are encoded', async () => {
    const { submit, until, asked, letGo, ends } = open(2000)
    for (const id of [0, 1, 2]) submit(id, images(id * 100, 20))
    let most = 0
    await until(() => {
      most = Math.max(most, new Set(asked).size - letGo.length)
      return ends.length === 3
    })
    expect(most).toBeLessThanOrEqual(3)
    expect(letGo.toSorted()).toEqual([...new Set(asked)].sort())
  })

  it('continues without a request that is cancelled while its pixels are on the way', async () => {
    const { scheduler, submit, until, asked, ends, failures, letGo } = open(2000)
    submit(0, images(0, 5))
    submit(1, images(100, 5))
    await until(() => asked.length > 0)
    scheduler.cancel(0)
    await until(() => ends.length === 1)
    expect(failures).toHaveLength(1)
    expect(letGo.filter((one) => one.startsWith('1 '))).toHaveLength(5)
  })
})

it('an engine is idle only when the part of a cancelled request is encoded, and says so then', async () => {
  const { scheduler, submit, until, order, failures, idle } = open(2000)
  submit(0, images(0, 1))
  await until(() => order.length === 1)
  scheduler.cancel(0)
  await until(() => failures.length === 1)
  expect(scheduler.isIdle).toBe(false)
  expect(idle).not.toContain(true)
  await until(() => idle.at(-1) === true)
  expect(order).toHaveLength(1)
})

describe('an image that has to be decoded first', () => {
  it('keeps nobody else waiting', async () => {
    const { submit, until, order, ends, asked, decoded } = open(2000, ['0 0', '0 1'])
    submit(0, images(0, 3))
    submit(1, images(100, 2))
    await until(() => ends.length === 1)
    expect(ends).toEqual([1])
    expect(order.map((key) => key.split('\n')[0])).toEqual(expect.arrayContaining(['2', '100', '101']))
    for (let ticks = 0; ticks < 50; ticks++) await tick()
    expect([order.length, asked.filter((name) => name === '0 0').length]).toEqual([6, 1])
    decoded(0, '1')
    decoded(0, '0')
    await until(() => ends.length === 2)
    expect(order).toHaveLength(10)
  })

  it('is decoded once for all requests of a client', async () => {
    const { submit, until, order, ends, asked, decoded } = open(2000, ['0 7', '1 7', '2 7'])
    for (const id of [0, 1, 2]) submit(id, images(7, 1))
    await until(() => asked.length > 0)
    for (let ticks = 0; ticks < 50; ticks++) await tick()
    const [first] = asked
    expect(asked).toEqual([first])
    decoded(Number(first?.[0]), '7')
    await until(() => ends.length === 3)
    expect(order).toHaveLength(2)
    expect(new Set(asked)).toEqual(new Set([first]))
  })

  it('is decoded for another request when that of the first is cancelled', async () => {
    const { scheduler, submit, until, ends, asked, decoded } = open(2000, ['0 7', '1 7'])
    submit(0, images(7, 1))
    submit(1, images(7, 1))
    await until(() => asked.includes('0 7') || asked.includes('1 7'))
    const first = Number(asked[0]?.[0])
    scheduler.cancel(first)
    await until(() => asked.includes(`${1 - first} 7`))
    decoded(1 - first, '7')
    await until(() => ends.length === 1)
    expect(ends).toEqual([1 - first])
  })

  it('is not waited for by another client, whose own decoder may be faster', async () => {
    const { submit, until, ends, order, decoded } = open(2000, ['0 7'])
    submit(0, images(7, 1), 'slow')
    submit(1, images(7, 1), 'fast')
    await until(() => ends.length === 2)
    expect(order).toHaveLength(2)
    // Too late: the other client's pixels were encoded for both.
    decoded(0, '7')
    submit(2, images(8, 1))
    await until(() => ends.length === 3)
  })
})
