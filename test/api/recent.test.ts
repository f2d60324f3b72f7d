import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Recent } from '../../src/api/monitoring/recent.ts'

describe('the last hour of a server', () => {
  beforeEach(() => vi.useFakeTimers({ toFake: ['performance'] }))
  afterEach(() => vi.useRealTimers())

  /** A request in each second, for some minutes. @param ms to its first token */
  const serve = (recent: Recent, minutes: number, ms: number): void => {
    for (let second = 0; second < minutes * 60; second++) {
      recent.now.requests++
      recent.now.output += 10
      recent.now.firstToken.add(ms)
      vi.advanceTimersByTime(1000)
    }
  }

  it('forgets what is older than each span', () => {
    const recent = new Recent()
    serve(recent, 10, 100)
    serve(recent, 2, 1000)
    const [minute, five, hour] = [1, 5, 60].map((minutes) => recent.last(minutes).tallies)
    expect(hour?.requests).toBe(720)
    expect(five?.requests).toBeGreaterThanOrEqual(290)
    expect(five?.requests).toBeLessThanOrEqual(300)
    expect(minute?.requests).toBeLessThanOrEqual(60)
    expect(Math.abs((minute?.firstToken.percentile(0.01) ?? 0) - 1000)).toBeLessThan(50)
    expect(Math.abs((five?.firstToken.percentile(0.5) ?? 0) - 100)).toBeLessThan(5)
    expect(Math.abs((five?.firstToken.percentile(0.99) ?? 0) - 1000)).toBeLessThan(50)
    vi.advanceTimersByTime(61 * 60_000)
    expect(recent.last(60).tallies.requests).toBe(0)
    expect(recent.last(60).tallies.firstToken.percentile(0.5)).toBeNull()
  })

  it('counts rates for as long as the server has run', () => {
    const recent = new Recent()
    serve(recent, 0.5, 100)
    const { tallies, seconds } = recent.last(5)
    expect(seconds).toBeCloseTo(30)
    expect(tallies.output / seconds).toBeCloseTo(10)
    serve(recent, 10, 100)
    const later = recent.last(5)
    expect(later.tallies.output / later.seconds).toBeCloseTo(10)
  })

  it('has each minute once, the oldest first', () => {
    const recent = new Recent()
    serve(recent, 3, 100)
    recent.now.failed('overloaded')
    const minutes = recent.minutes(60)
    expect(minutes).toHaveLength(60)
    expect(minutes.reduce((sum, { requests }) => sum + requests, 0)).toBe(180)
    expect(minutes.at(-1)?.failures).toBe(1)
    expect(minutes[0]?.requests).toBe(0)
  })

  it('takes every time there is, and no more memory for more of them', () => {
    const recent = new Recent()
    for (const ms of [0, -1, 1e-9, Number.POSITIVE_INFINITY, 1e12]) recent.now.perToken.add(ms)
    expect(recent.last(1).tallies.perToken.percentile(0)).toBeLessThan(0.1)
    expect(recent.last(1).tallies.perToken.percentile(1)).toBeGreaterThan(3e6)
  })
})
