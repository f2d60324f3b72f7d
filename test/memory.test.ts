import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { freemem, platform, tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { availableMemory, freeOf, residentBytes, takenInGroup } from '../src/memory.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'oriel-memory-'))
})
afterEach(() => rm(folder, { recursive: true }))

async function group(where: string, files: Record<string, string>): Promise<void> {
  await mkdir(path.join(folder, where), { recursive: true })
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(folder, where, name), text)
}
const taken = async (groups: string) => {
  await writeFile(path.join(folder, 'groups'), groups)
  return takenInGroup({ files: folder, groups: path.join(folder, 'groups') })
}

describe('the available memory', () => {
  it('is at most the free memory of the machine', () => {
    expect(availableMemory()).toBeGreaterThan(0)
    expect(availableMemory()).toBeLessThanOrEqual(freemem() * 1.1)
  })

  it('includes file pages, in both versions of control groups', async () => {
    await group('my/service', {
      'memory.current': '1000\n',
      'memory.stat': 'anon 300\nactive_anon 50\ninactive_file 500\nactive_file 100\n',
    })
    expect(await taken('0::/my/service\n')).toBe(400)
    await rm(path.join(folder, 'my'), { recursive: true })
    await group('memory/old', {
      'memory.usage_in_bytes': '2000\n',
      'memory.stat': 'inactive_file 1\ntotal_inactive_file 400\ntotal_active_file 100\n',
    })
    expect(await taken('3:cpu:/\n4:memory:/old\n0::/\n')).toBe(1500)
  })

  it('is read at the root if a container does not see the name of its group', async () => {
    await group('.', { 'memory.current': '70', 'memory.stat': 'inactive_file 20\n' })
    expect(await taken('0::/../../docker/abc\n')).toBe(50)
  })

  it('is half of a Mac at least, whose system calls free what it uses for nothing at all', () => {
    expect(freeOf('darwin', 1e8, 16e9)).toBe(8e9)
    expect(freeOf('darwin', 12e9, 16e9)).toBe(12e9)
    expect(freeOf('linux', 1e8, 16e9)).toBe(1e8)
  })

  it('is unknown without control groups', async () => {
    expect(await taken('')).toBeUndefined()
  })
})

it.runIf(platform() === 'linux')(
  'the memory of a process includes that of the processes that it has started',
  async () => {
    const large = "globalThis.held = Buffer.alloc(200e6, 1); console.log('ready'); setInterval(() => {}, 1000)"
    const shell = spawn('sh', ['-c', '"$0" -e "$1"; true', process.execPath, large], { detached: true })
    await once(shell.stdout, 'data')
    expect(residentBytes(shell.pid)).toBeGreaterThan(200e6)
    process.kill(-(shell.pid ?? Number.NaN), 'SIGKILL')
  },
)
