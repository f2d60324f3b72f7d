import { totalmem } from 'node:os'
import { afterAll, expect, it, vi } from 'vitest'
import { deferred } from '../../src/deferred.ts'
import { Costs } from '../../src/fairness.ts'
import { loadConfig } from '../../src/load-config.ts'
import { DecoderPool } from '../../src/media/decoder/pool.ts'
import type { Wanted } from '../../src/media/decoder/protocol.ts'
import { childrenRunning } from '../support/children.ts'
import { dataUrl, shape } from '../support/images.ts'

// The memory of the machine is enough for one recording, so there are two places.
const settings = { ...loadConfig({}, {}).media, decoders: 2, recordingMemoryBytes: totalmem() }
const pool = new DecoderPool(settings, new Costs(), undefined)
afterAll(() => pool.close())
const { signal } = new AbortController()

const list: Wanted = {
  ...{ kind: 'video', clip: { start: 0, end: null }, sound: false, only: null },
  ...{ most: 1, perSecond: null, usualPerSecond: 1, longestEdge: 64, choose: 'even' },
}

it('recordings of one client that together could take too much memory are decoded one after the other, beside others', async () => {
  const image = await shape('red', 'circle', 64)
  const decode = (client: string, wanted: Wanted, admit: () => Promise<() => void>) =>
    pool.decode(client, { payload: dataUrl(image), options: { wanted, mostPages: 1 } }, admit, signal)
  const events: string[] = []
  const [began, may] = [deferred<void>(), deferred<void>()]
  const first = decode('one', list, async () => {
    began.resolve()
    await may.promise
    return () => events.push('first ended')
  })
  await began.promise
  const second = decode('one', list, async () => {
    events.push('second began')
    return () => {}
  })
  await decode('two', list, async () => () => events.push("another's ended"))
  await decode('three', { kind: 'image', pages: null, longestEdge: 64 }, async () => () => events.push('image ended'))
  may.resolve()
  await Promise.all([first, second])
  expect(events).toEqual(["another's ended", 'image ended', 'first ended', 'second began'])
})

it.skipIf(process.platform === 'win32')('of decoders that nobody needs, one is left after a minute', async () => {
  const running = () => childrenRunning('decoder-process').map(({ pid }) => pid)
  const others = running()
  const own = () => running().filter((pid) => !others.includes(pid))
  const crowded = new DecoderPool({ ...settings, decoders: 3 }, new Costs(), undefined)
  const payload = dataUrl(await shape('red', 'circle', 64))
  const image: Wanted = { kind: 'image', pages: null, longestEdge: 64 }
  /** Decodes all at one time. */
  const decodeAll = async (all: readonly Wanted[]) => {
    const [wait, allWait] = [deferred<void>(), deferred<void>()]
    let waiting = 0
    const admit = async () => {
      if (++waiting === all.length) allWait.resolve()
      await wait.promise
      return () => {}
    }
    const decoding = all.map((wanted) =>
      crowded.decode('one', { payload, options: { wanted, mostPages: 1 } }, admit, signal),
    )
    await allWait.promise
    wait.resolve()
    await Promise.all(decoding)
  }
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    await decodeAll([image, list, image])
    await vi.advanceTimersByTimeAsync(30_000)
    const crowd = own()
    expect(crowd).toHaveLength(3)
    // One of them is needed meanwhile, and has its minute again.
    await decodeAll([image])
    await vi.advanceTimersByTimeAsync(31_000)
    vi.useRealTimers()
    await expect.poll(own, { timeout: 30_000 }).toHaveLength(1)
    await decodeAll([image])
    expect(crowd).toContain(own()[0])
  } finally {
    vi.useRealTimers()
    await crowded.close()
  }
})
