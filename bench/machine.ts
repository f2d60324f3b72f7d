import { readdirSync, readFileSync } from 'node:fs'
import { arch, cpus, platform, totalmem } from 'node:os'

export interface Machine {
  cpu: string
  cores: number
  memoryGb: number
  system: string
}

export const machine = (): Machine => ({
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: cpus().length,
  memoryGb: Math.round(totalmem() / 2 ** 30),
  system: `${platform()} ${arch()}`,
})

/** The share of all cores that other processes may use during a measurement. */
const most = 0.1
/** The interval of one check for idle cores, in ms, and the maximum number of checks. */
const watch = 300
const mostChecks = 40

/** Waits until the cores are idle, for 12 seconds at most. */
export async function quiet(): Promise<void> {
  for (let tried = 0; tried < mostChecks; tried++) {
    const begin = othersTime()
    await new Promise((resolve) => setTimeout(resolve, watch))
    if (share(begin) < most) return
  }
}

/** @returns the result, and whether other processes used the machine during the measurement */
export async function undisturbed<T>(measure: () => Promise<T>): Promise<{ result: T; disturbed: boolean }> {
  const begin = othersTime()
  const result = await measure()
  return { result, disturbed: share(begin) > most }
}

/** A time and the CPU time of other processes until then, in ms. */
interface Mark {
  at: number
  others: number
}

const share = (begin: Mark): number => {
  const end = othersTime()
  return (end.others - begin.others) / ((end.at - begin.at) * cpus().length)
}

function othersTime(): Mark {
  const all = cpus().reduce((sum, { times: of }) => sum + of.user + of.nice + of.sys + of.irq, 0)
  return { at: performance.now(), others: all - ownTime() }
}

/** A tick of `/proc`, in ms. */
const tick = 10

/** CPU time of this process and its descendants; 0 without `/proc`. */
function ownTime(): number {
  const processes = new Map<number, { parent: number; time: number }>()
  for (const name of platform() === 'linux' ? readdirSync('/proc') : []) {
    const pid = Number(name)
    if (Number.isNaN(pid)) continue
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
      const fields = stat
        .slice(stat.lastIndexOf(')') + 2)
        .split(' ')
        .map(Number)
      // User and system time of the process and of its children that have exited.
      const time = fields.slice(11, 15).reduce((sum, ticks) => sum + ticks, 0)
      processes.set(pid, { parent: fields[1] ?? 0, time: time * tick })
    } catch {
      // The process has exited.
    }
  }
  const isOurs = (pid: number): boolean => pid === process.pid || (pid > 1 && isOurs(processes.get(pid)?.parent ?? 0))
  return [...processes].reduce((sum, [pid, { time }]) => sum + (isOurs(pid) ? time : 0), 0)
}
