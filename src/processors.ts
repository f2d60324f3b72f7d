import { availableParallelism } from 'node:os'
import path from 'node:path'
import { type GroupFiles, groupFolders, textOf } from './control-group.ts'

/**
 * Cores that this process may keep busy: those that it may run on, or fewer where a container has a bound on its time
 * (Docker's `--cpus`, a limit of Kubernetes), which Node before 22.10 does not look at. Threads that wait for each other
 * are stopped in the middle of it when they are more.
 */
export function availableProcessors(of?: GroupFiles): number {
  return Math.max(1, Math.min(availableParallelism(), Math.floor(quota(of))))
}

/** Cores' worth of time, by the strictest bound on the way to the root. */
function quota(of: GroupFiles | undefined): number {
  const { first, second } = groupFolders('cpu', of)
  const bounds = [...second.flatMap(upwards).map(boundOfSecond), ...first.map(boundOfFirst)]
  return Math.min(Number.POSITIVE_INFINITY, ...bounds.filter((cores) => cores > 0))
}

/** `cpu.max` is "150000 100000", or "max 100000". */
function boundOfSecond(folder: string): number {
  const [time, period] = textOf(path.join(folder, 'cpu.max'))?.split(' ') ?? []
  return Number(time) / Number(period)
}

function boundOfFirst(folder: string): number {
  const [time, period] = ['quota', 'period'].map((name) => Number(textOf(path.join(folder, `cpu.cfs_${name}_us`))))
  return (time ?? Number.NaN) / (period ?? Number.NaN)
}

/** A folder and those that it is in: a bound holds for all groups within. */
function upwards(folder: string): string[] {
  const parent = path.dirname(folder)
  return parent === folder ? [folder] : [folder, ...upwards(parent)]
}
