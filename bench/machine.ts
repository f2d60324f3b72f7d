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

/** Share of all cores that others may use while something is measured. */
const most = 0.1
/** Time over which the cores are watched beforehand, and how often it is tried. ms */
const watch = 300
const patience = 40

/** Waits until the cores are free, for some seconds at most. */
export async function quiet(): Promise<void> {
  for (let tried = 0; tried < patience; tried++) {
    const begin = othersTime()
    await new Promise((resolve) => setTimeout(resolve, watch))
    if (share(begin) < most) return
  }
}

/** @returns the result, and whether others used the machine meanwhile */
export async function undisturbed<T>(measure: () => Promise<T>): Promise<{ result: T; disturbed: boolean }> {
  const begin = othersTime()
  const result = await measure()
  return { result, disturbed: share(begin) > most }
}

/** A moment and the time, in ms, that processes other than ours have had by then. */
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

/** A tick of `/proc` in ms: 100 a second wherever Linux runs. */
const tick = 10

/** CPU time of this process and of all that it has started. Where there is no `/proc`, ours cannot be told from others'. */
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
      // User and system time, its own and that of its children which have ended.
      const time = fields.slice(11, 15).reduce((sum, ticks) => sum + ticks, 0)
      processes.set(pid, { parent: fields[1] ?? 0, time: time * tick })
    } catch {
      // It has ended meanwhile.
    }
  }
  const isOurs = (pid: number): boolean => pid === process.pid || (pid > 1 && isOurs(processes.get(pid)?.parent ?? 0))
  return [...processes].reduce((sum, [pid, { time }]) => sum + (isOurs(pid) ? time : 0), 0)
}
