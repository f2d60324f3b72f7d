import type { ChildProcess } from 'node:child_process'
import { entryOf, startProcess } from '../../src/children/index.ts'
import type { OrielSettings } from '../../src/config.ts'

/** A request that a writer has settled, and when: ms since 1970. */
export interface Settled {
  id: string
  at: number
}

export interface Writer {
  readonly settled: readonly Settled[]
  readonly ended: Promise<number | NodeJS.Signals>
  kill(signal: NodeJS.Signals): void
}

/** Starts `writer.ts`. */
export function startWriter(settings: OrielSettings['accounts'], requestsPerSecond = 200): Writer {
  const child: ChildProcess = startProcess(entryOf(import.meta.url, './writer.ts'), {
    args: [JSON.stringify(settings), String(requestsPerSecond)],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const settled: Settled[] = []
  child.on('message', (more: Settled[]) => {
    settled.push(...more)
  })
  return {
    settled,
    ended: new Promise((resolve) => child.once('close', (code, signal) => resolve(signal ?? code ?? 0))),
    kill: (signal) => child.kill(signal),
  }
}
