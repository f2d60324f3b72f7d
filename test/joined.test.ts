import { describe, expect, it } from 'vitest'
import { deferred } from '../src/deferred.ts'
import { joined } from '../src/joined.ts'

describe('work that many ask for at once', () => {
  it('is done once for all who ask while it is done, and begins after they asked', async () => {
    const ends = [deferred<void>(), deferred<void>(), deferred<void>()]
    let begun = 0
    const ask = joined(async () => {
      const time = begun++
      await ends[time]?.promise
      return time
    })
    const first = ask()
    const others = [ask(), ask(), ask()]
    expect(begun).toBe(1)
    ends[0]?.resolve()
    expect(await first).toBe(0)
    const late = ask()
    ends[1]?.resolve()
    expect(await Promise.all(others)).toEqual([1, 1, 1])
    ends[2]?.resolve()
    expect(await late).toBeLessThanOrEqual(2)
    expect(begun).toBeLessThanOrEqual(3)
    expect(await ask()).toBe(begun - 1)
  })

  it('that fails fails for those who waited for it, and is done again for the next', async () => {
    let times = 0
    const ask = joined(async () => {
      times++
      if (times <= 2) throw new Error(`no ${times}`)
      return times
    })
    const asked = await Promise.allSettled([ask(), ask(), ask()])
    expect(asked.map((one) => one.status === 'rejected' && one.reason.message)).toEqual(['no 1', 'no 2', 'no 2'])
    expect(await ask()).toBe(3)
  })
})
