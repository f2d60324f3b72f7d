import { readFileSync } from 'node:fs'
import { freemem, totalmem } from 'node:os'
import path from 'node:path'

/**
 * Bytes that processes here may still take: what the machine has free, or what is left of the bound that a container
 * sets. File pages that were not used lately do not count as taken, as in Kubernetes' working set: a container that has
 * just fetched a model would seem full otherwise.
 */
export function availableMemory(): number {
  const bound = process.constrainedMemory?.() ?? 0
  if (bound === 0 || bound >= totalmem()) return freemem()
  return Math.min(freemem(), Math.max(0, bound - (takenInGroup() ?? process.memoryUsage.rss())))
}

/**
 * What this process's control group has taken, by either version's files. A container may see them at the root although
 * its group has a name.
 * @returns undefined where they cannot be read
 */
export function takenInGroup(files = '/sys/fs/cgroup', groups = '/proc/self/cgroup'): number | undefined {
  const lines = textOf(groups)?.split('\n') ?? []
  const nameBy = (mark: string): string => lines.find((line) => line.includes(mark))?.split(':')[2] ?? '/'
  const second = [path.join(files, nameBy('0::')), files].map((folder) => ({
    folder,
    taken: 'memory.current',
    idle: 'inactive_file',
  }))
  const first = [path.join(files, 'memory', nameBy(':memory:')), path.join(files, 'memory')].map((folder) => ({
    folder,
    taken: 'memory.usage_in_bytes',
    idle: 'total_inactive_file',
  }))
  for (const { folder, taken, idle } of [...second, ...first]) {
    const [bytes, stats] = [textOf(path.join(folder, taken)), textOf(path.join(folder, 'memory.stat'))]
    if (bytes === undefined || stats === undefined) continue
    return Number(bytes) - Number(new RegExp(`^${idle} (\\d+)$`, 'm').exec(stats)?.[1] ?? 0)
  }
  return undefined
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
