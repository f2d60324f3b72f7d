import type { ChildProcess } from 'node:child_process'
import { entryOf, startProcess } from '../../src/children/index.ts'
import type { OrielSettings } from '../../src/config.ts'

/** A request that a writer has settled, and when it began and ended: ms since 1970. */
export interface Settled {
  id: string
  begun: number
  at: number
}

export interface Progress {
  settled: Settled[]
  refused: number
}

export interface Writer extends Progress {
  readonly ended: Promise<number | NodeJS.Signals>
  kill(signal: NodeJS.Signals): void
}

/** Starts `writer.ts`. */
export function startWriter(settings: OrielSettings['accounts'], requestsPerSecond = 200): Writer {
  const child: ChildProcess = startProcess(entryOf(import.meta.url, './writer.ts'), {
    args: [JSON.stringify(settings), String(requestsPerSecond)],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const writer: Writer = {
    settled: [],
    refused: 0,
    ended: new Promise((resolve) => child.once('close', (code, signal) => resolve(signal ?? code ?? 0))),
    kill: (signal) => child.kill(signal),
  }
  child.on('message', ({ settled, refused }: Progress) => {
    writer.settled.push(...settled)
    writer.refused += refused
  })
  return writer
}
