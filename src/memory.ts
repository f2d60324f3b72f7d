import { freemem, totalmem } from 'node:os'
import path from 'node:path'
import { type GroupFiles, groupFolders, textOf } from './control-group.ts'

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
 * What this process's control group has taken, by either version's files.
 * @returns undefined where they cannot be read
 */
export function takenInGroup(of?: GroupFiles): number | undefined {
  const { first, second } = groupFolders('memory', of)
  const places = [
    ...second.map((folder) => ({ folder, taken: 'memory.current', idle: 'inactive_file' })),
    ...first.map((folder) => ({ folder, taken: 'memory.usage_in_bytes', idle: 'total_inactive_file' })),
  ]
  for (const { folder, taken, idle } of places) {
    const [bytes, stats] = [textOf(path.join(folder, taken)), textOf(path.join(folder, 'memory.stat'))]
    if (bytes === undefined || stats === undefined) continue
    return Number(bytes) - Number(new RegExp(`^${idle} (\\d+)$`, 'm').exec(stats)?.[1] ?? 0)
  }
  return undefined
}
