import type { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { lowerPriority, startProcess } from '../../children/index.ts'
import { parseJson } from '../../json.ts'
import { programFile } from '../../places.ts'
import { type ProgressLine, progressLine } from '../contract.ts'
import type { ExternalRun } from '../external/external.ts'
import { ProgressFile } from './progress-file.ts'

/** How a run of a trainer ended. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** What it said last of why it failed. */
  readonly failure: string | undefined
}

/** A trainer that runs. */
export interface Running {
  readonly pid: number
  /** Asks it to keep a checkpoint and to end. Ends it if it takes too long. */
  stop(): void
  /** Ends it at once, with all that it started. */
  kill(): void
  /** When it has ended and all its lines are read. */
  readonly ended: Promise<Ended>
}

export interface Listeners {
  line(line: ProgressLine): void
  /** All lines up to there have been told. */
  read(bytes: number): void
  log(line: string): void
}

/** Time that a trainer has to keep a checkpoint, in ms. */
const checkpointMs = 60_000
/** Time in which the last lines of one that has ended are read, in ms. */
const lastLinesMs = 1000
/** The least that others have of the cores is what is left by everybody else. */
const niceness = 19
/** Characters of a line: the rest of a longer one is left out. */
const longestLine = 100_000

/**
 * Starts a trainer in a process group of its own. Another program has the folder of its job as its working directory.
 * @param external another program; null: ours
 */
export function startTrainer(external: ExternalRun | null, folder: string, listeners: Listeners): Running {
  const progress = new ProgressFile(folder)
  const output = progress.begin()
  const around = surroundings(folder, output.fd)
  const child =
    external === null
      ? startProcess(programFile('tuning/trainer-process'), { args: [folder], ...around })
      : startProcess(programFile('tuning/external/command-process'), { args: external.words, cwd: folder, ...around })
  output.close()
  if (child.pid !== undefined) lowerPriority(child.pid, niceness)
  // The last message wins: a trainer that fails says so before it ends.
  let failure: string | undefined
  const read = (text: string): void => {
    const { data } = progressLine.safeParse(text.startsWith('{') ? parseJson(text) : undefined)
    const lines = data === undefined ? (external?.read(text) ?? []) : [data]
    for (const line of lines) {
      if (line.type === 'failed') failure = line.message
      listeners.line(line)
    }
    if (data === undefined) listeners.log(text)
  }
  let deadline: NodeJS.Timeout | undefined
  const exited = exitOf(child).then((exit) => {
    clearTimeout(deadline)
    // What it has started ends with it. What left the group may keep its outputs open.
    signalGroup(child, 'SIGKILL')
    setTimeout(() => child.stderr?.destroy(), lastLinesMs).unref()
    return exit
  })
  const take = (lines: readonly string[], bytes: number): void => {
    for (const line of lines) read(line.slice(0, longestLine))
    listeners.read(bytes)
  }
  const outputs = [progress.follow(exited, take), linesOf(child.stderr, listeners.log)]
  const ended = Promise.all([exited, ...outputs]).then(([exit]): Ended => ({ ...exit, failure }))
  // It may fail before anybody waits for it: that is the end of this job, and not of the server.
  ended.catch(() => {})
  return {
    pid: child.pid ?? 0,
    stop() {
      child.kill('SIGTERM')
      deadline ??= setTimeout(() => signalGroup(child, 'SIGKILL'), checkpointMs)
    },
    kill: () => signalGroup(child, 'SIGKILL'),
    ended,
  }
}

/** Ends the process that a job of this folder had when its server was killed, if it still runs. */
export async function endOld(pid: number, folder: string): Promise<void> {
  for (let attempt = 0; attempt < 50 && isTrainerOf(pid, folder); attempt++) {
    try {
      process.kill(-pid, 'SIGKILL')
    } catch {
      return
    }
    await sleep(100)
  }
}

/** Only Linux says which program a process runs: elsewhere it has ended with its server. */
function isTrainerOf(pid: number, folder: string): boolean {
  try {
    const isGone = /^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
    return !isGone && readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`ORIEL_JOB_FOLDER=${folder}`)
  } catch {
    return false
  }
}

const surroundings = (folder: string, output: number) => ({
  // Its standard input ends when this process does, however that ends.
  stdio: ['pipe', output, 'pipe'] as ['pipe', number, 'pipe'],
  // Its native code computes with threads of its own.
  env: { ...process.env, ORIEL_JOB_FOLDER: folder, UV_THREADPOOL_SIZE: '1' },
})

const exitOf = (child: ChildProcess): Promise<Pick<Ended, 'code' | 'signal'>> =>
  new Promise((resolve) => {
    child.once('error', () => resolve({ code: null, signal: null }))
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })

/** A negative number means the group, which the child leads. */
function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(process.platform === 'win32' ? pid : -pid, signal)
  } catch {
    // It has ended.
  }
}

/** Reads lines of bounded length. Resolves when the stream ends. */
async function linesOf(stream: Readable | null | undefined, read: (line: string) => void): Promise<void> {
  // With too many open files the process was not started, and has none.
  if (stream == null) return
  let rest = ''
  stream.setEncoding('utf8')
  try {
    for await (const chunk of stream) {
      // A bar of progress returns to the beginning of its line.
      const parts = `${rest}${chunk}`.split(/[\r\n]+/)
      rest = (parts.pop() ?? '').slice(0, longestLine)
      for (const part of parts) if (part !== '') read(part.slice(0, longestLine))
    }
  } catch {
    // The process was killed while it wrote.
  }
  if (rest !== '') read(rest)
}
