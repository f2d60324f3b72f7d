import { readdirSync, readFileSync } from 'node:fs'
import { platform } from 'node:os'
import { promisify } from 'node:util'
import koffi from 'koffi'
import { functionsOf } from './function.ts'

/** The cores that a thread may run on: `sched_setaffinity`, on Linux only. Threads are named by the system's ids. */
export interface Affinity {
  /** The cores that this process may use. */
  readonly cpus: readonly number[]
  /** @returns a function that lists the threads of this process that have started since the call */
  startedFromNow(): () => number[]
  current(): number
  /** The thread that runs the next asynchronous call of native code. */
  worker(): Promise<number>
  allow(thread: number, cpus: readonly number[]): void
}

/** Bytes of a mask of 1024 cores, as in glibc's `cpu_set_t`. */
const maskBytes = 128

/** @returns null on a system without it */
export function openAffinity(): Affinity | null {
  if (platform() !== 'linux') return null
  try {
    const libc = koffi.load(null)
    const gettid: { (): number; async(done: (error: unknown, thread: number) => void): void } =
      libc.func('int gettid()')
    const setAffinity = functionsOf(libc)<(thread: number, bytes: number, mask: Uint8Array) => number>(
      'int sched_setaffinity(int, size_t, const void*)',
    )
    return {
      cpus: allowedCpus(),
      startedFromNow() {
        const before = new Set(threadsOfProcess())
        return () => threadsOfProcess().filter((thread) => !before.has(thread))
      },
      current: () => gettid(),
      worker: promisify(gettid.async),
      allow(thread, cpus) {
        const mask = new Uint8Array(maskBytes)
        for (const cpu of cpus) mask[cpu >> 3] = (mask[cpu >> 3] ?? 0) | (1 << (cpu & 7))
        setAffinity(thread, maskBytes, mask)
      },
    }
  } catch {
    // A C library without these functions, or no /proc.
    return null
  }
}

const threadsOfProcess = (): number[] => readdirSync('/proc/self/task').map(Number)

function allowedCpus(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? ''
  return list.split(',').flatMap((range) => {
    const [first = Number.NaN, last = first] = range.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })
}
