import { readdirSync, writeFileSync } from 'node:fs'
import { setPriority } from 'node:os'

/**
 * Gives the cores to others first: lowers the priority of a child process from `startProcess`, in all of its threads.
 * @param niceness 1 to 19. Beside a process that wants the same core, 8 has a seventh of it, and 15 a thirtieth
 */
export function lowerPriority(pid: number, niceness: number): void {
  // On Linux every thread has a priority of its own. It counts only among the threads of its session, where the kernel
  // groups sessions (`sched_autogroup_enabled`), and a child has its own session: then the group's priority counts.
  for (const thread of threadsOf(pid)) tried(() => setPriority(thread, niceness))
  tried(() => writeFileSync(`/proc/${pid}/autogroup`, String(niceness)))
}

function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number)
  } catch {
    return [pid]
  }
}

/** The process or the thread may have ended, and the system may not know or not allow it. */
function tried(change: () => void): void {
  try {
    change()
  } catch {}
}
