import { readFileSync } from 'node:fs'
import { availableParallelism, platform } from 'node:os'
import { describe, expect, it } from 'vitest'
import { confinement, openAffinity, openNative } from '../../src/native/index.ts'

describe('the threads of an encoder beside a decoder', () => {
  it.runIf(platform() === 'linux' && availableParallelism() > 1)(
    'keep off the cores that it uses, and may use all again',
    () => {
      openNative()
      const affinity = openAffinity()
      if (affinity === null) throw new Error('Linux has no affinity')
      const [[thread], { cpus }] = [affinity.named('confined')(), affinity]
      if (thread === undefined) throw new Error('the thread has no name')
      const allowed = () =>
        /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync(`/proc/self/task/${thread}/status`, 'utf8'))?.[1]
      const before = allowed()
      // A pool's helpers are on the cores from the first on, and the thread that they help is on the last.
      const confine = confinement([thread], cpus.length, cpus.length - 1)
      confine?.(true)
      expect(allowed()).toBe(String(cpus.at(-2)))
      confine?.(false)
      expect(allowed()).toBe(before)
    },
  )

  it('are not confined if the decoder uses all cores, or its threads are not one for each core', () => {
    openNative()
    const cores = openAffinity()?.cpus.length ?? 1
    expect(confinement([1], cores, cores)).toBeNull()
    expect(confinement([1], cores + 1, 1)).toBeNull()
  })
})
