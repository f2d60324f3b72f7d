import type { ChildProcess } from 'node:child_process'
import { expect, vi } from 'vitest'
import { openStore } from '../../src/accounts/store/store.ts'
import { startProcess } from '../../src/children/index.ts'
import type { OrielSettings } from '../../src/config.ts'
import { loadConfig } from '../../src/load-config.ts'
import { patient } from '../support/wait.ts'

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
  const child: ChildProcess = startProcess(new URL('./writer.ts', import.meta.url), {
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

/** The ids in the ledger, after somebody has brought back what was on disk. */
export async function written(settings: OrielSettings['accounts']): Promise<Set<string>> {
  const store = await openStore(loadConfig({ accounts: settings }, {}).accounts)
  const rows = await store.db.selectFrom('requests').select('id').execute()
  const { cost } = await store.db
    .selectFrom('spend')
    .select((row) => row.cast<number>(row.fn.sum('cost'), 'bigint').as('cost'))
    .executeTakeFirstOrThrow()
  await store.close()
  // Each costs 10 tokens at 1 and 5 at 2: the sums of months count every row once.
  expect(Number(cost)).toBe(rows.length * 20)
  return new Set(rows.map(({ id }) => id))
}

/** Waits until each writer has settled more than so many requests. */
export const some = (writers: readonly Writer[], requests: number) =>
  vi.waitFor(() => {
    for (const { settled } of writers) expect(settled.length).toBeGreaterThan(requests)
  }, patient)
