import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PrefixTree } from '../../src/engine/prefix-tree.ts'

const path = (...cells: number[]) => Float64Array.from(cells)

const common = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let length = 0
  while (length < Math.min(a.length, b.length) && a[length] === b[length]) length++
  return length
}

describe('the prefix tree', () => {
  it('finds the longest stored prefix and a sequence that holds it', () => {
    const tree = new PrefixTree()
    tree.insert('', path(1, 2, 3, 4), 7)
    tree.insert('', path(1, 2, 9), 8)
    expect(tree.match('', path(1, 2, 3, 5))).toEqual({ sequence: 7, length: 3, of: 4 })
    expect(tree.match('', path(1, 2, 9, 9))).toEqual({ sequence: 8, length: 3, of: 3 })
    expect(tree.match('', path(2))).toBeUndefined()
  })

  it('does not find what another isolation key has stored', () => {
    const tree = new PrefixTree()
    tree.insert('alice', path(1, 2, 3), 1)
    expect(tree.match('bob', path(1, 2, 3))).toBeUndefined()
  })

  it('returns sequences that a longer one makes redundant, and a new one that is redundant', () => {
    const tree = new PrefixTree()
    expect(tree.insert('', path(1, 2), 1)).toEqual([])
    expect(tree.insert('', path(1, 2, 3), 2)).toEqual([1])
    expect(tree.insert('', path(1, 2, 3), 3)).toEqual([3])
    expect(tree.size).toBe(1)
  })

  it('evicts the least recently used, in an order that look-ups do not change', () => {
    const tree = new PrefixTree()
    tree.insert('', path(1, 1), 1)
    tree.insert('', path(2, 2), 2)
    tree.touch(1)
    tree.match('', path(2, 2, 5))
    expect(tree.evict()?.sequence).toBe(2)
    expect(tree.match('', path(2, 2))).toBeUndefined()
    expect(tree.evict()?.sequence).toBe(1)
    expect(tree.evict()).toBeUndefined()
  })

  it('agrees with a plain list of paths under any schedule', () => {
    const cells = fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 8 })
    const step = fc.oneof(
      fc.record({ do: fc.constant('insert' as const), key: fc.constantFrom('a', 'b'), cells }),
      fc.record({ do: fc.constant('match' as const), key: fc.constantFrom('a', 'b'), cells }),
      fc.record({ do: fc.constant('evict' as const) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const tree = new PrefixTree()
        const model = new Map<number, { key: string; cells: number[] }>()
        let next = 0
        for (const action of steps) {
          if (action.do === 'insert') {
            const sequence = next++
            model.set(sequence, action)
            for (const gone of tree.insert(action.key, path(...action.cells), sequence)) {
              const lost = model.get(gone)
              model.delete(gone)
              // A redundant sequence is covered by one that stays.
              expect(
                [...model.values()].some(
                  (kept) => kept.key === lost?.key && common(kept.cells, lost.cells) === lost.cells.length,
                ),
              ).toBe(true)
            }
          } else if (action.do === 'evict') {
            const gone = tree.evict()?.sequence
            expect(gone === undefined).toBe(model.size === 0)
            if (gone !== undefined) model.delete(gone)
          } else {
            const best = Math.max(
              0,
              ...[...model.values()]
                .filter(({ key }) => key === action.key)
                .map((entry) => common(entry.cells, action.cells)),
            )
            const found = tree.match(action.key, path(...action.cells))
            expect(found?.length ?? 0).toBe(best)
            if (found !== undefined)
              expect(common(model.get(found.sequence)?.cells ?? [], action.cells)).toBeGreaterThanOrEqual(best)
          }
          expect(tree.size).toBe(model.size)
        }
      }),
    )
  })
})
