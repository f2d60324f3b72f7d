import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Breaker } from '../../src/upstreams/breaker.ts'
import { Health } from '../../src/upstreams/health.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

describe('a breaker', () => {
  const failed = (times: number): Breaker => {
    const breaker = new Breaker()
    for (let time = 0; time < times; time++) breaker.fail()
    return breaker
  }

  it('leaves a target out after five faults in a row, longer each time, half a minute at most', () => {
    const breaker = failed(4)
    expect(breaker.waitMs).toBe(0)
    breaker.succeed()
    for (let time = 0; time < 4; time++) breaker.fail()
    expect(breaker.waitMs).toBe(0)
    expect(breaker.fail()).toBe(true)
    for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
      expect(breaker.waitMs).toBeCloseTo(seconds * 1000)
      vi.advanceTimersByTime(seconds * 1000)
      expect(breaker.waitMs).toBe(0)
      breaker.ask()
      breaker.fail()
    }
  })

  it('does not wait longer for requests that fail together', () => {
    const breaker = failed(50)
    expect(breaker.waitMs).toBeLessThanOrEqual(1000)
  })

  it('lets one request try, and the others when that one has begun', () => {
    const breaker = failed(5)
    vi.advanceTimersByTime(1000)
    breaker.ask()
    expect(breaker.waitMs).toBe(Number.POSITIVE_INFINITY)
    breaker.begin()
    expect(breaker.waitMs).toBe(0)
    breaker.ask()
    expect(breaker.waitMs).toBe(0)
    // The answer broke off.
    expect(breaker.fail()).toBe(true)
  })

  it('learns nothing from a request that was cancelled', () => {
    const breaker = failed(5)
    vi.advanceTimersByTime(1000)
    breaker.ask()
    breaker.giveUp()
    expect([breaker.waitMs, breaker.isOpen]).toEqual([0, true])
  })
})

describe('the health of an upstream', () => {
  const watched = (probe: (signal: AbortSignal) => Promise<void>) => {
    const probed = vi.fn(probe)
    const onChange = vi.fn()
    return { health: new Health({ probe: probed, onChange }), probed, onChange }
  }
  const fails = async (): Promise<void> => {
    throw new Error('no')
  }

  it('is asked a few times a minute while it is good', async () => {
    const { health, probed } = watched(async () => {})
    await vi.advanceTimersByTimeAsync(120_000)
    expect(probed.mock.calls.length).toBeGreaterThanOrEqual(6)
    expect(probed.mock.calls.length).toBeLessThanOrEqual(11)
    health.close()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('is bad after two probes that fail, and good after one that succeeds', async () => {
    let works = false
    const { health, probed, onChange } = watched(() => (works ? Promise.resolve() : fails()))
    await vi.advanceTimersByTimeAsync(1)
    expect([probed.mock.calls.length, health.isUp]).toEqual([1, true])
    await vi.advanceTimersByTimeAsync(1500)
    expect(health.isUp).toBe(false)
    await vi.advanceTimersByTimeAsync(600_000)
    expect(probed.mock.calls.length).toBeLessThanOrEqual(2 + 5 + 25)
    works = true
    await vi.advanceTimersByTimeAsync(36_000)
    expect(health.isUp).toBe(true)
    expect(onChange.mock.calls).toEqual([[false], [true]])
    health.close()
  })

  it('is not asked while requests are answered, and soon after one that failed', async () => {
    const { health, probed } = watched(async () => {})
    await vi.advanceTimersByTimeAsync(1)
    for (let second = 0; second < 60; second++) {
      health.answered()
      await vi.advanceTimersByTimeAsync(1000)
    }
    expect(probed).toHaveBeenCalledTimes(1)
    for (let time = 0; time < 100; time++) health.suspect()
    await vi.advanceTimersByTimeAsync(600)
    expect(probed).toHaveBeenCalledTimes(2)
    health.close()
  })

  it('is bad if a probe is not answered, and good again if a request is', async () => {
    const { health, probed } = watched(() => new Promise(() => {}))
    await vi.advanceTimersByTimeAsync(12_000)
    expect([probed.mock.calls.length, health.isUp]).toEqual([2, false])
    health.answered()
    expect(health.isUp).toBe(true)
    health.close()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('is asked no more when it is closed, and what asks it ends', async () => {
    const { health, probed } = watched(() => new Promise(() => {}))
    await vi.advanceTimersByTimeAsync(1)
    health.close()
    expect(probed.mock.calls[0]?.[0].aborted).toBe(true)
    await vi.advanceTimersByTimeAsync(100_000)
    expect(probed).toHaveBeenCalledTimes(1)
  })
})
