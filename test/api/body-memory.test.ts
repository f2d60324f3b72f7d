import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Bodies } from '../../src/api/body/bodies.ts'
import { BodyMemory, type HeldBody } from '../../src/api/body/body-memory.ts'
import { loadConfig } from '../../src/load-config.ts'
import { inputs } from '../support/long.ts'

const capacity = 1_000_000
const clients = ['a', 'b', 'c', 'd']

/** Bodies that have what they asked for. Those that wait are left aside. */
function filled(takes: readonly (readonly [client: string, bytes: number])[]): HeldBody[] {
  const memory = new BodyMemory(capacity)
  return takes.flatMap(([client, bytes]) => {
    const body = memory.open(client)
    body.grow(bytes)?.catch(() => {})
    return body.bytes > 0 ? [body] : []
  })
}
const sum = (bodies: readonly HeldBody[]): number => bodies.reduce((total, { bytes }) => total + bytes, 0)

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

it('is not taken for a client that has left', async () => {
  const bodies = new Bodies(loadConfig({}, {}).server)
  const left = { raw: new PassThrough().destroy(), headers: {} }
  await expect(bodies.read(left as never, 'json')).rejects.toMatchObject({ kind: 'cancelled' })
})

describe('the memory of bodies', () => {
  it('is never exceeded, and half of it is the most for a client with several large bodies', () => {
    const takes = fc.array(fc.tuple(fc.constantFrom(...clients), fc.integer({ min: 65_000, max: 400_000 })), {
      maxLength: 40,
    })
    fc.assert(
      fc.property(takes, (asked) => {
        const bodies = filled(asked)
        expect(sum(bodies)).toBeLessThanOrEqual(capacity)
        for (const client of clients) {
          const own = bodies.filter((body) => body.client === client)
          if (own.length > 1) expect(sum(own)).toBeLessThanOrEqual(capacity / 2)
        }
      }),
      { numRuns: inputs(100, 5000) },
    )
  })

  it('has space for a newcomer beside a client that takes all it can', () => {
    const bodies = filled([...Array.from({ length: 50 }, () => ['a', 100_000] as const), ['b', 400_000]])
    expect(bodies.map(({ client }) => client)).toEqual(['a', 'a', 'a', 'a', 'a', 'b'])
  })

  it('has space for a small body of a client that has its share', () => {
    expect(
      filled([
        ['a', 250_000],
        ['a', 250_000],
        ['a', 100_000],
        ['a', 64_000],
      ]).map(({ bytes }) => bytes),
    ).toEqual([250_000, 250_000, 64_000])
  })

  it('goes to those that wait when it is given back, and is refused after five seconds', async () => {
    const memory = new BodyMemory(capacity)
    const [first, second, third] = [memory.open('a'), memory.open('a'), memory.open('a')]
    first.grow(500_000)
    const waits = second.grow(400_000)
    const refused = expect(third.grow(400_000)).rejects.toMatchObject({ code: 'too_many_bodies', retryAfter: 5 })
    first.release()
    first.release()
    await waits
    expect(second.bytes).toBe(400_000)
    await vi.advanceTimersByTimeAsync(5000)
    await refused
    third.release()
    second.release()
    expect(memory.open('b').grow(capacity)).toBeUndefined()
  })

  it('is refused to a body that gets a little of it again and again', async () => {
    const memory = new BodyMemory(capacity)
    const [first, second, third] = [memory.open('a'), memory.open('b'), memory.open('c')]
    first.grow(500_000)
    second.grow(400_000)
    third.grow(100_000)
    const waits = third.grow(200_000)
    await vi.advanceTimersByTimeAsync(4000)
    second.release()
    await waits
    const refused = expect(third.grow(capacity)).rejects.toMatchObject({ code: 'too_many_bodies' })
    await vi.advanceTimersByTimeAsync(1000)
    await refused
  })

  it('is not taken by a client that left while it waited', async () => {
    const memory = new BodyMemory(capacity)
    const [first, second] = [memory.open('a'), memory.open('a')]
    first.grow(capacity)
    const left = expect(second.grow(1000)).rejects.toMatchObject({ kind: 'cancelled' })
    second.release()
    await left
    first.release()
    expect(memory.open('b').grow(capacity)).toBeUndefined()
  })

  it('is not taken by a client whose own memory, given back as it leaves, would have been enough', async () => {
    const memory = new BodyMemory(capacity)
    const [first, second] = [memory.open('a'), memory.open('b')]
    first.grow(400_000)
    second.grow(450_000)
    const left = expect(first.grow(600_000)).rejects.toMatchObject({ kind: 'cancelled' })
    first.release()
    await left
    second.release()
    expect(memory.open('c').grow(capacity)).toBeUndefined()
  })
})
