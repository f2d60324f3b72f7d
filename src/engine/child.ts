import type { ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { startProcess } from '../children/index.ts'
import { onnxVariables } from '../encoders/index.ts'
import { programFile } from '../places.ts'

/** Lines of the process's output that are logged when it dies. */
const linesKept = 20

let prepared: ChildProcess | undefined

/** Starts the process of the next engine, which reads its code while this process does something else. */
export function prepareEngine(): void {
  // If it cannot be started, the engine is given another one.
  prepared ??= newProcess()
  hold(prepared, false)
}

/** The process that was prepared, or a new one. */
export function takeProcess(): ChildProcess {
  const child = prepared
  prepared = undefined
  if (child?.connected !== true || child.exitCode !== null || child.signalCode !== null) return newProcess()
  hold(child, true)
  return child
}

const newProcess = (): ChildProcess =>
  startProcess(programFile('engine/process'), {
    // For `giveBackMemory`, which collects garbage after the load.
    nodeFlags: ['--expose-gc'],
    serialization: 'advanced',
    // All graphs of the decoder's thread pool must run on the same thread.
    env: { ...process.env, ...onnxVariables, UV_THREADPOOL_SIZE: '1' },
    // The last one is for payloads.
    stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe'],
  })

/** Decides whether a child keeps this process from exiting. */
export function hold(child: ChildProcess, isHeld: boolean): void {
  // It has none if it could not be started.
  const sockets = (child.stdio ?? []).slice(1) as (Socket | null)[]
  for (const handle of [child, child.channel, ...sockets])
    if (isHeld) handle?.ref()
    else handle?.unref()
}

/**
 * Reads the process's output. llama.cpp and ggml write to stderr, including the assertion that ends the process.
 * @returns its last lines, to which later ones are added
 */
export function readOutput(child: ChildProcess, onLine: (line: string) => void): readonly string[] {
  const lastLines: string[] = []
  for (const input of [child.stdout, child.stderr])
    if (input !== null)
      createInterface({ input }).on('line', (line) => {
        onLine(line)
        lastLines.push(line)
        if (lastLines.length > linesKept) lastLines.shift()
      })
  return lastLines
}
