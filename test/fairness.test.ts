import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Costs, crowdedOut } from '../src/fairness.ts'

describe('costs of clients', () => {
  it('fade: after ten seconds they count half', () => {
    let now = 0
    const costs = new Costs(() => now)
    costs.charge('a', 80)
    now = 10_000
    expect(costs.of('a')).toBeCloseTo(40)
    costs.charge('a', 20)
    now = 20_000
    expect(costs.of('a')).toBeCloseTo(30)
    expect(costs.of('nobody')).toBe(0)
  })

  it('count work while it runs, and once', () => {
    let now = 0
    const costs = new Costs(() => now)
    const end = costs.run('a')
    now = 5
    expect(costs.of('a')).toBe(5)
    end()
    end()
    expect(costs.of('a')).toBe(5)
  })

  it('decide whose turn it is: items of the cheapest client first, each in the order of its items', () => {
    const costs = new Costs(() => 0)
    costs.charge('a', 2)
    costs.charge('b', 1)
    expect(costs.inTurn(['a1', 'b1', 'c1', 'a2', 'c2'], ([client = '']) => client)).toEqual([
      ['c1', 'c2'],
      ['b1'],
      ['a1', 'a2'],
    ])
  })

  it('keep clients that always want something within one piece of work of each other', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 50, maxLength: 200 }), (sizes) => {
        const costs = new Costs(() => 0)
        const clients = ['a', 'b', 'c']
        for (const size of sizes) costs.charge(costs.inTurn(clients, (client) => client)[0]?.[0] ?? '', size)
        const all = clients.map((client) => costs.of(client))
        expect(Math.max(...all) - Math.min(...all)).toBeLessThanOrEqual(50)
      }),
    )
  })
})

describe('a full place', () => {
  const firstLetter = ([client = '']: string) => client

  it('is left by the newest item of the client that has the most', () => {
    const items = ['a1', 'a2', 'b1', 'a3', 'b2']
    expect(crowdedOut('c', items, firstLetter)).toBe('a3')
    expect(crowdedOut('a', items, firstLetter)).toBeUndefined()
    // With one more, b would have as many.
    expect(crowdedOut('b', items, firstLetter)).toBeUndefined()
    expect(crowdedOut('c', ['a1', 'b1'], firstLetter)).toBeUndefined()
  })
})
