import pino from 'pino'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { Growth } from '../../src/accounts/limits/growth.ts'
import { type OpenStore, openStore } from '../../src/accounts/store/store.ts'
import { loadConfig } from '../../src/load-config.ts'
import { patient } from '../support/wait.ts'
import { temporaryFolder } from './houses.ts'

const minute = 60_000
const hour = 60 * minute

describe('limits that follow use', () => {
  const dataDir = temporaryFolder()
  let store: OpenStore
  let now = 1_800_000_000_000
  const growth = (most = 2) => new Growth(store.db, most, pino({ level: 'silent' }), () => now)
  beforeAll(async () => {
    store = await openStore(loadConfig({ accounts: { dataDir } }, {}).accounts)
  })
  afterAll(() => store.close())

  it('grow by a quarter, every 15 minutes at most, while more than half is in use, up to the most', async () => {
    const limits = growth()
    const factors = [await limits.factor('busy', 'pocket')]
    for (let step = 0; step < 6; step++) {
      now += 15 * minute
      for (const share of [0.4, 0.6, 0.9]) limits.used('busy', 'pocket', share)
      factors.push(await limits.factor('busy', 'pocket'))
    }
    expect(factors).toEqual([1, 1.25, 1.563, 1.954, 2, 2, 2])
    now += 14 * minute
    limits.used('busy', 'pocket', 0.9)
    expect(await limits.factor('busy', 'another')).toBe(1)
  })

  it('shrink by a fifth, once a day, after three days with less than a third, never below the tier', async () => {
    const limits = growth()
    await limits.factor('quiet', 'pocket')
    for (let step = 0; step < 2; step++) {
      now += 15 * minute
      limits.used('quiet', 'pocket', 0.9)
    }
    const factors = [await limits.factor('quiet', 'pocket')]
    for (let day = 1; day <= 6; day++) {
      now += 24 * hour
      limits.used('quiet', 'pocket', 0.1)
      factors.push(await limits.factor('quiet', 'pocket'))
    }
    expect(factors).toEqual([1.563, 1.563, 1.563, 1.25, 1, 1, 1])
  })

  it('stay as they have grown while the store is cut off', async () => {
    await growth().factor('cut', 'pocket')
    const before = growth()
    await before.factor('cut', 'pocket')
    now += 15 * minute
    before.used('cut', 'pocket', 0.9)
    await vi.waitFor(async () => expect(await growth().factor('cut', 'pocket')).toBe(1.25), patient)
    const limits = growth()
    const select = vi.spyOn(store.db, 'selectFrom').mockImplementation(() => {
      throw new Error('the store is cut off')
    })
    expect(await limits.factor('cut', 'pocket')).toBe(1)
    select.mockRestore()
    now += minute
    limits.used('cut', 'pocket', 0.4)
    await vi.waitFor(async () => expect(await limits.factor('cut', 'pocket')).toBe(1.25), patient)
  })

  it('are those of the tier again after three days without a request', async () => {
    const limits = growth()
    await limits.factor('gone', 'pocket')
    now += 15 * minute
    limits.used('gone', 'pocket', 0.9)
    expect(await limits.factor('gone', 'pocket')).toBe(1.25)
    now += 73 * hour
    expect(await limits.factor('gone', 'pocket')).toBe(1)
  })

  it('are known to the next server, and never more than its settings allow', async () => {
    const limits = growth()
    await limits.factor('kept', 'pocket')
    now += 15 * minute
    limits.used('kept', 'pocket', 0.9)
    await vi.waitFor(async () => expect(await growth().factor('kept', 'pocket')).toBe(1.25), patient)
    expect(await growth(1.1).factor('kept', 'pocket')).toBe(1.1)
  })
})
