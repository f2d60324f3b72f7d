import { freemem, platform, totalmem } from 'node:os'
import path from 'node:path'
import { type GroupFiles, groupFolders, textOf } from './control-group.ts'

/**
 * Memory that is available to this process and its children, in bytes: the free memory of the machine, or what remains
 * below the limit of the container. File pages count as available, since the kernel gives them back. Otherwise a container
 * that has just downloaded or unloaded a model would appear to be full.
 */
export function availableMemory(): number {
  const limit = process.constrainedMemory?.() ?? 0
  const free = freeOf(platform(), freemem(), totalmem())
  if (limit === 0 || limit >= totalmem()) return free
  return Math.min(free, Math.max(0, limit - (takenInGroup() ?? process.memoryUsage.rss())))
}

/**
 * What a machine could give, of what its system calls free, in bytes. macOS calls free only what it uses for nothing at all,
 * some hundred megabytes on any machine: file pages and what it would compress are most of the rest. Half of the machine is
 * what it gives without swapping.
 */
export const freeOf = (system: NodeJS.Platform, free: number, whole: number): number =>
  system === 'darwin' ? Math.max(free, whole / 2) : free

/**
 * Memory used by this process's control group without pages of files, in bytes. Reads the files of version 1 and version 2.
 * @returns undefined if they cannot be read
 */
export function takenInGroup(files?: GroupFiles): number | undefined {
  const { first, second } = groupFolders('memory', files)
  const candidates = [
    ...second.map((folder) => ({ folder, usage: 'memory.current', prefix: '' })),
    ...first.map((folder) => ({ folder, usage: 'memory.usage_in_bytes', prefix: 'total_' })),
  ]
  for (const { folder, usage, prefix } of candidates) {
    const [bytes, stats] = [textOf(path.join(folder, usage)), textOf(path.join(folder, 'memory.stat'))]
    if (bytes === undefined || stats === undefined) continue
    const pages = stats.matchAll(new RegExp(`^${prefix}(?:in)?active_file (\\d+)$`, 'gm'))
    return [...pages].reduce((taken, [, count]) => taken - Number(count), Number(bytes))
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
