import { freemem, totalmem } from 'node:os'
import path from 'node:path'
import { type GroupFiles, groupFolders, textOf } from './control-group.ts'

/**
 * Memory that is available to this process and its children, in bytes: the free memory of the machine, or what remains
 * below the limit of the container. Inactive file pages count as available, as in the working set of Kubernetes. Otherwise
 * a container that has just downloaded a model would appear to be full.
 */
export function availableMemory(): number {
  const limit = process.constrainedMemory?.() ?? 0
  if (limit === 0 || limit >= totalmem()) return freemem()
  return Math.min(freemem(), Math.max(0, limit - (takenInGroup() ?? process.memoryUsage.rss())))
}

/**
 * Memory used by this process's control group, in bytes. Reads the files of version 1 and version 2.
 * @returns undefined if they cannot be read
 */
export function takenInGroup(files?: GroupFiles): number | undefined {
  const { first, second } = groupFolders('memory', files)
  const candidates = [
    ...second.map((folder) => ({ folder, usage: 'memory.current', inactive: 'inactive_file' })),
    ...first.map((folder) => ({ folder, usage: 'memory.usage_in_bytes', inactive: 'total_inactive_file' })),
  ]
  for (const { folder, usage, inactive } of candidates) {
    const [bytes, stats] = [textOf(path.join(folder, usage)), textOf(path.join(folder, 'memory.stat'))]
    if (bytes === undefined || stats === undefined) continue
    return Number(bytes) - Number(new RegExp(`^${inactive} (\\d+)$`, 'm').exec(stats)?.[1] ?? 0)
  }
  return undefined
}

/** Memory of the machine, or of the container if it has a limit, in bytes. */
export function wholeMemory(): number {
  return Math.min(process.constrainedMemory?.() || totalmem(), totalmem())
}

/**
 * Physical memory of a process and of those that its main thread has started, in bytes; 0 if it is not known: only Linux says
 * it without another process.
 */
export function residentBytes(pid: number | undefined): number {
  const [, kilobytes = 0] = /^VmRSS:\s*(\d+) kB$/m.exec(textOf(`/proc/${pid}/status`) ?? '') ?? []
  const children = textOf(`/proc/${pid}/task/${pid}/children`)?.match(/\d+/g) ?? []
  return children.reduce((sum, child) => sum + residentBytes(Number(child)), Number(kilobytes) * 1024)
}
