import { execFileSync } from 'node:child_process'

/** The children of a process (default: this one) that run a script of this name, with their resident megabytes. */
export function childrenRunning(script: string, parent = process.pid): { pid: number; megabytes: number }[] {
  const list = execFileSync('ps', ['-o', 'pid=,rss=,args=', '--ppid', String(parent)], { encoding: 'utf8' })
  return list
    .split('\n')
    .filter((line) => line.includes(script))
    .map((line) => line.trim().split(/\s+/).map(Number))
    .map(([pid = 0, kilobytes = 0]) => ({ pid, megabytes: kilobytes / 1000 }))
}
