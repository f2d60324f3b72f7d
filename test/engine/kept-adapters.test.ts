import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { deferred } from '../../src/deferred.ts'
import type { AdapterFiles } from '../../src/engine/generation.ts'
import { KeptAdapters } from '../../src/engine/kept-adapters.ts'
import { OrielError } from '../../src/errors.ts'

const filesOf = (id: string, bytes = 1, version = '1'): AdapterFiles => ({
  ...{ id, version, bytes },
  decoder: null,
  vision: null,
})

const tick = () => new Promise((resolve) => setImmediate(resolve))

/** Adapters of an engine that loads at once, or not at all. */
function keptWith(maxAdapters: number, adapterBytes = 100, broken: readonly string[] = []) {
  const loaded = new Map<string, number>()
  const log: string[] = []
  const kept = new KeptAdapters(
    { maxAdapters, adapterBytes },
    {
      async load(key, { id, bytes }) {
        log.push(`load ${id}`)
        loaded.set(key, bytes)
        const taken = [...loaded.values()].reduce((sum, each) => sum + each, 0)
        if (loaded.size > maxAdapters || taken > adapterBytes) throw new Error('too many are loaded')
        await tick()
        if (broken.includes(id)) throw new OrielError('precondition_failed', 'It cannot be loaded.')
      },
      drop(key) {
        if (loaded.delete(key)) log.push(`drop ${JSON.parse(key)[0]}`)
      },
      changed(bytes) {
        if (bytes > adapterBytes) throw new Error('too many are loaded')
      },
    },
  )
  return { kept, loaded, log }
}

describe('the adapters of an engine', () => {
  it('let everybody in sometime, and are never too many', async () => {
    const request = fc.record({
      id: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      at: fc.nat(20),
      ticks: fc.nat(10),
      cancelled: fc.option(fc.nat(10), { freq: 4 }),
      version: fc.constantFrom('1', '1', '1', '2'),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(request, { maxLength: 30 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 5, max: 9 }),
        async (requests, most, bytes) => {
          const { kept, loaded } = keptWith(most, bytes)
          const using = async ({ id, at, ticks, cancelled, version }: (typeof requests)[number]) => {
            const over = new AbortController()
            for (let now = 0; now < at; now++) await tick()
            if (cancelled !== null)
              void Promise.resolve()
                .then(tick)
                .then(() => over.abort())
            try {
              await kept.load(filesOf(id, id.charCodeAt(0) - 96, version), over.signal)
              const { key, release } = await kept.hold(id, over.signal)
              for (let now = 0; now < ticks; now++) {
                if (!loaded.has(key)) throw new Error('it left while it was used')
                await tick()
              }
              release()
            } catch (error) {
              expect(cancelled === null ? error : (error as OrielError).kind).toBe('cancelled')
            }
          }
          await Promise.all(requests.map(using))
          expect(loaded.size).toBeLessThanOrEqual(most)
          for (const id of new Set(requests.map(({ id }) => id))) await kept.unload(id)
          expect(loaded.size).toBe(0)
        },
      ),
      { numRuns: 200 },
    )
  })

  it('leave when another one is needed: the least recently used, as soon as it is idle', async () => {
    const { kept, log } = keptWith(2)
    for (const id of ['a', 'b']) await kept.load(filesOf(id))
    const a = await kept.hold('a')
    const b = await kept.hold('b')
    const c = kept.load(filesOf('c'))
    const again = kept.hold('a')
    await tick()
    expect(log).toEqual(['load a', 'load b'])
    // It takes no new requests until then: they come after the one that waits.
    a.release()
    await Promise.all([c, again])
    expect(log).toEqual(['load a', 'load b', 'drop a', 'load c', 'drop c', 'load a'])
    b.release()
  })

  it('are replaced by another version, which running requests do not see', async () => {
    const { kept, log } = keptWith(3)
    await kept.load(filesOf('a'))
    const old = await kept.hold('a')
    await kept.load(filesOf('a', 1, '2'))
    const next = await kept.hold('a')
    expect(next.key).not.toBe(old.key)
    expect(log).toEqual(['load a', 'load a'])
    old.release()
    expect(log).toEqual(['load a', 'load a', 'drop a'])
    next.release()
  })

  it('are unloaded when the last request is over, and refuse new ones', async () => {
    const { kept, log } = keptWith(3)
    await kept.load(filesOf('a'))
    const held = await kept.hold('a')
    const unloaded = kept.unload('a')
    await expect(kept.hold('a')).rejects.toMatchObject({ kind: 'precondition_failed', code: 'adapter_not_loaded' })
    expect(log).toEqual(['load a'])
    held.release()
    await unloaded
    expect(log).toEqual(['load a', 'drop a'])
  })

  it('that cannot be loaded fail their requests, and leave the place to others', async () => {
    const { kept, loaded } = keptWith(1, 100, ['bad'])
    const both = await Promise.allSettled([kept.load(filesOf('bad')), kept.load(filesOf('good'))])
    expect(both.map(({ status }) => status)).toEqual(['rejected', 'fulfilled'])
    expect(loaded.size).toBe(1)
    await expect(kept.load(filesOf('large', 101))).rejects.toThrow('all adapters of a model together may take 0.1 kB')
  })

  it('do not keep a request that is cancelled while they are loaded, and stay until they are', async () => {
    const loading = deferred<void>()
    const dropped: string[] = []
    const kept = new KeptAdapters(
      { maxAdapters: 1, adapterBytes: 100 },
      { load: () => loading.promise, drop: (key) => dropped.push(key), changed() {} },
    )
    const over = new AbortController()
    const first = kept.load(filesOf('a'), over.signal)
    await tick()
    over.abort()
    await expect(first).rejects.toMatchObject({ kind: 'cancelled' })
    const other = kept.load(filesOf('b'))
    await tick()
    expect(dropped).toEqual([])
    loading.resolve()
    await other
    expect(dropped).toHaveLength(1)
  })

  it('are loaded again for a new process', async () => {
    const { kept, loaded, log } = keptWith(2)
    await kept.load(filesOf('a'))
    loaded.clear()
    kept.reload()
    await kept.hold('a')
    expect(log).toEqual(['load a', 'load a'])
  })
})
