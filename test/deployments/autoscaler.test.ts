import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Autoscaler } from '../../src/deployments/autoscaler.ts'
import { usualWanted, type Wanted } from '../../src/deployments/record.ts'

const wanted: Wanted = {
  ...usualWanted,
  ...{ minReplicas: 0, maxReplicas: 4, scaleUpMs: 30_000, scaleDownMs: 600_000, scaleToZeroMs: 3_600_000 },
}

/** A deployment whose load somebody sets, looked at once a second. @returns its replicas after so many seconds */
function deployed(bounds: Partial<Wanted> = {}) {
  const autoscaler = new Autoscaler()
  const all = { ...wanted, ...bounds }
  let [now, desired, usedAt] = [0, Math.max(1, all.minReplicas), 0]
  return (load: number, seconds: number): number => {
    for (let second = 0; second < seconds; second++) {
      now += 1000
      if (load > 0) usedAt = now
      desired = autoscaler.next({ now, desired, load, usedAt, target: 2 }, all)
    }
    return desired
  }
}

describe('a deployment', () => {
  it('has more replicas when its load was higher for the window, and not for a moment', () => {
    const replicasAt = deployed()
    expect(replicasAt(6, 29)).toBe(1)
    expect(replicasAt(1, 1)).toBe(1)
    expect(replicasAt(6, 30)).toBe(1)
    expect(replicasAt(6, 1)).toBe(3)
  })

  it('never has more than it may', () => {
    expect(deployed()(1000, 60)).toBe(4)
  })

  it('has fewer when its load was lower for the window: as many as it needed most meanwhile', () => {
    const replicasAt = deployed()
    expect(replicasAt(8, 60)).toBe(4)
    expect(replicasAt(1, 300)).toBe(4)
    expect(replicasAt(4, 10)).toBe(4)
    expect(replicasAt(1, 300)).toBe(2)
    expect(replicasAt(1, 580)).toBe(2)
    expect(replicasAt(1, 30)).toBe(1)
  })

  it('has none when no request came for the window, and stays so', () => {
    const replicasAt = deployed()
    expect(replicasAt(1, 10)).toBe(1)
    expect(replicasAt(0, 3599)).toBe(1)
    expect(replicasAt(0, 1)).toBe(0)
    expect(replicasAt(0, 10_000)).toBe(0)
  })

  it('keeps those that it must have', () => {
    expect(deployed({ minReplicas: 2 })(0, 10_000)).toBe(2)
  })

  it('stays within its bounds, whatever its load', () => {
    const loads = fc.array(fc.tuple(fc.nat(50), fc.integer({ min: 1, max: 900 })), { maxLength: 30 })
    fc.assert(
      fc.property(loads, fc.nat(3), fc.nat(3), (steps, minReplicas, more) => {
        const replicasAt = deployed({ minReplicas, maxReplicas: minReplicas + more })
        for (const [load, seconds] of steps) {
          const replicas = replicasAt(load, seconds)
          expect(replicas).toBeGreaterThanOrEqual(minReplicas)
          expect(replicas).toBeLessThanOrEqual(minReplicas + more)
        }
      }),
    )
  })
})
