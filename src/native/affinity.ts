import { readdirSync, readFileSync } from 'node:fs'
import { platform } from 'node:os'
import { promisify } from 'node:util'
import koffi from 'koffi'
import { functionsOf } from './function.ts'

/** The cores that a thread may run on: `sched_setaffinity`, on Linux only. Threads are named by the system's ids. */
export interface Affinity {
  /** The cores that this process may use. */
  readonly cpus: readonly number[]
  /**
   * Names the calling thread, as monitors of the system show it. Threads that it starts from now on inherit the name.
   * @param name at most 15 characters
   * @returns a function that lists the threads with this name
   */
  named(name: string): () => number[]
  /** Calls a function that starts threads. @returns what it returns, and the threads, which have this name */
  startedBy<T>(name: string, start: () => T): [T, number[]]
  /** The thread that runs the next asynchronous call of native code. */
  worker(): Promise<number>
  allow(thread: number, cpus: readonly number[]): void
}

/** `PR_SET_NAME` of prctl(2) */
const setName = 15
/** Bytes of a mask of 1024 cores, as in glibc's `cpu_set_t`. */
const maskBytes = 128

/** @returns null on a system without it */
export function openAffinity(): Affinity | null {
  if (platform() !== 'linux') return null
  try {
    const libc = koffi.load(null)
    const prctl = functionsOf(libc)<(option: number, name: string, b: number, c: number, d: number) => number>(
      'int prctl(int, const char*, unsigned long, unsigned long, unsigned long)',
    )
    const gettid: { (): number; async(done: (error: unknown, thread: number) => void): void } =
      libc.func('int gettid()')
    const setAffinity = functionsOf(libc)<(thread: number, bytes: number, mask: Uint8Array) => number>(
      'int sched_setaffinity(int, size_t, const void*)',
    )
    return {
      cpus: allowedCpus(),
      named(name) {
        prctl(setName, name, 0, 0, 0)
        return () => threadsOfProcess().filter((thread) => nameOf(thread) === name)
      },
      startedBy(name, start) {
        const own = nameOf(gettid()) ?? ''
        const threads = this.named(name)
        try {
          const started = start()
          return [started, threads().filter((thread) => thread !== gettid())]
        } finally {
          this.named(own)
        }
      },
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

/** @returns undefined if the thread has ended */
function nameOf(thread: number): string | undefined {
  try {
    return readFileSync(`/proc/self/task/${thread}/comm`, 'utf8').trimEnd()
  } catch {
    return undefined
  }
}

function allowedCpus(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? ''
  return list.split(',').flatMap((range) => {
    const [first = Number.NaN, last = first] = range.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })
}
