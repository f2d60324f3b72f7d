import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { availableProcessors } from '../src/processors.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'oriel-processors-'))
})
afterEach(() => rm(folder, { recursive: true }))

const all = availableParallelism()

async function group(where: string, files: Record<string, string>): Promise<void> {
  await mkdir(path.join(folder, where), { recursive: true })
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(folder, where, name), text)
}
async function processors(groups: string): Promise<number> {
  await writeFile(path.join(folder, 'groups'), groups)
  return availableProcessors({ files: folder, groups: path.join(folder, 'groups') })
}

describe('the available processors', () => {
  it('are those in the affinity of the process', async () => {
    expect(await processors('')).toBe(all)
    await group('.', { 'cpu.max': 'max 100000\n' })
    expect(await processors('0::/\n')).toBe(all)
  })

  it.runIf(all > 1)('are limited by the CPU quota of a container, rounded down, to at least one', async () => {
    await group('.', { 'cpu.max': '190000 100000\n' })
    expect(await processors('0::/\n')).toBe(1)
    await group('.', { 'cpu.max': '50000 100000\n' })
    expect(await processors('0::/\n')).toBe(1)
    await group('.', { 'cpu.max': `${all * 2}00000 100000\n` })
    expect(await processors('0::/\n')).toBe(all)
  })

  it.runIf(all > 1)('are limited by the quotas of all parent groups', async () => {
    await group('pod', { 'cpu.max': '100000 100000\n' })
    await group('pod/container', { 'cpu.max': 'max 100000\n' })
    expect(await processors('0::/pod/container\n')).toBe(1)
  })

  it.runIf(all > 1)('are limited by control groups v1 too, where -1 means no limit', async () => {
    await group('cpu,cpuacct/docker', { 'cpu.cfs_quota_us': '-1\n', 'cpu.cfs_period_us': '100000\n' })
    expect(await processors('4:cpu,cpuacct:/docker\n0::/\n')).toBe(all)
    await group('cpu,cpuacct/docker', { 'cpu.cfs_quota_us': '100000\n' })
    expect(await processors('4:cpu,cpuacct:/docker\n0::/\n')).toBe(1)
  })
})
