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
  it('are those that the process may run on', async () => {
    expect(await processors('')).toBe(all)
    await group('.', { 'cpu.max': 'max 100000\n' })
    expect(await processors('0::/\n')).toBe(all)
  })

  it.runIf(all > 1)('are as many as a container has time for, rounded down, and one at the least', async () => {
    await group('.', { 'cpu.max': '190000 100000\n' })
    expect(await processors('0::/\n')).toBe(1)
    await group('.', { 'cpu.max': '50000 100000\n' })
    expect(await processors('0::/\n')).toBe(1)
    await group('.', { 'cpu.max': `${all * 2}00000 100000\n` })
    expect(await processors('0::/\n')).toBe(all)
  })

  it.runIf(all > 1)('are bounded by all groups that a group is in', async () => {
    await group('pod', { 'cpu.max': '100000 100000\n' })
    await group('pod/container', { 'cpu.max': 'max 100000\n' })
    expect(await processors('0::/pod/container\n')).toBe(1)
  })

  it.runIf(all > 1)('are bounded by the first version of control groups too, where -1 is no bound', async () => {
    await group('cpu,cpuacct/docker', { 'cpu.cfs_quota_us': '-1\n', 'cpu.cfs_period_us': '100000\n' })
    expect(await processors('4:cpu,cpuacct:/docker\n0::/\n')).toBe(all)
    await group('cpu,cpuacct/docker', { 'cpu.cfs_quota_us': '100000\n' })
    expect(await processors('4:cpu,cpuacct:/docker\n0::/\n')).toBe(1)
  })
})
