import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { getPriority, platform } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { secretVariables } from '../secrets.ts'
import { lowerPriority } from './priority.ts'

export interface ProcessOptions extends Omit<SpawnOptions, 'shell'> {
  /** Arguments of the entry file. */
  args?: readonly string[]
  /** Flags of Node itself, such as `--expose-gc`. */
  nodeFlags?: readonly string[]
}

/**
 * Starts a Node process that runs one of our own files. A `.ts` entry is loaded through tsx, a `.js` entry as it is. The
 * child does not inherit this process's Node flags, nor its keys and passwords, and is in a process group of its own: Ctrl-C at a terminal is for this
 * process, which decides when its children end. For messages in both directions, `stdio` must contain `'ipc'`. A start that
 * fails for want of descriptors gives a child without `pid`, `stdio` and `send`.
 * @param entry from `programFile`
 */
export function startProcess(entry: URL, { args = [], nodeFlags = [], ...options }: ProcessOptions): ChildProcess {
  const env = { ...(options.env ?? process.env), ...noSecrets() }
  const loader = isSource(entry.href) ? ['--import', import.meta.resolve('tsx')] : []
  // On Windows, where it would open a window, the children ignore the signal.
  const detached = platform() !== 'win32'
  const child = spawn(process.execPath, [...nodeFlags, ...loader, fileURLToPath(entry), ...args], {
    detached,
    ...options,
    env,
  })
  // Whoever has not listened yet when a start fails must not end with it.
  child.on('error', () => {})
  // A signal to it would go to the process group of this one.
  if (child.pid === undefined) child.kill = () => false
  // It inherits this process's priority, but a session of its own has one too.
  const niceness = getPriority()
  if (niceness > 0 && child.pid !== undefined) lowerPriority(child.pid, niceness)
  return child
}

/**
 * The socket of a child's `stdio` entry `'pipe'`, which the child opens as that file descriptor.
 * @throws Error where it has none: a child that could not be started for want of descriptors has no `stdio` at all
 */
export function socketOf(child: ChildProcess, fd: number): Socket {
  const socket = child.stdio?.[fd]
  if (!(socket instanceof Socket)) throw new Error(`the process has no socket ${fd}`)
  return socket
}

const noSecrets = () => Object.fromEntries(secretVariables().map((name) => [name, undefined]))

/**
 * Starts a worker thread that runs one of our own files. It does not inherit the process's Node flags: with `--input-type`,
 * as programs on the command line have it, it could not run a file.
 * @param entry from `programFile`
 */
export function startThread(entry: URL, workerData: unknown): Worker {
  if (!isSource(entry.href)) return new Worker(entry, { workerData, execArgv: [] })
  // A thread does not inherit the module hooks of its process: it registers tsx before it imports the entry.
  const tsx = JSON.stringify(import.meta.resolve('tsx/esm/api'))
  const boot = `import { register } from ${tsx}; register(); await import(${JSON.stringify(entry.href)})`
  return new Worker(new URL(`data:text/javascript,${encodeURIComponent(boot)}`), { workerData, execArgv: [] })
}

const isSource = (url: string): boolean => url.endsWith('.ts')
