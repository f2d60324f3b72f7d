import { availableParallelism } from 'node:os'
import path from 'node:path'
import { type GroupFiles, groupFolders, textOf } from './control-group.ts'

/**
 * Cores that this process can use: those that it may run on, or fewer if the container limits its CPU time (Docker's
 * `--cpus`, a limit of Kubernetes). Node before 22.10 ignores such limits. With more threads than that, the system
 * suspends threads that others wait for.
 */
export function availableProcessors(files?: GroupFiles): number {
  return Math.max(1, Math.min(availableParallelism(), Math.floor(cpuLimit(files))))
}

/** CPU time that a process has taken, in ms; 0 if it is not known: only Linux says it without another process. */
export function processorMs(pid: number | undefined): number {
  // The name of the program may have spaces and brackets in it. After it, the 12th and 13th are the time of the program and of
  // the system for it, in hundredths of a second.
  const [user = 0, system = 0] =
    textOf(`/proc/${pid}/stat`)
      ?.replace(/^.*\) /s, '')
      .split(' ')
      .slice(11, 13) ?? []
  return (Number(user) + Number(system)) * 10
}

/** The CPU time limit in cores: the lowest limit of the control group and its ancestors. */
function cpuLimit(files: GroupFiles | undefined): number {
  const { first, second } = groupFolders('cpu', files)
  const limits = [...second.flatMap(withAncestors).map(limitOfSecond), ...first.map(limitOfFirst)]
  return Math.min(Number.POSITIVE_INFINITY, ...limits.filter((cores) => cores > 0))
}

/** `cpu.max` contains "150000 100000" or "max 100000". */
function limitOfSecond(folder: string): number {
  const [time, period] = textOf(path.join(folder, 'cpu.max'))?.split(' ') ?? []
  return Number(time) / Number(period)
}

function limitOfFirst(folder: string): number {
  const [time, period] = ['quota', 'period'].map((name) => Number(textOf(path.join(folder, `cpu.cfs_${name}_us`))))
  return (time ?? Number.NaN) / (period ?? Number.NaN)
}

/** A folder and its ancestors: a limit applies to all groups below it. */
function withAncestors(folder: string): string[] {
  const parent = path.dirname(folder)
  return parent === folder ? [folder] : [folder, ...withAncestors(parent)]
}
