import { vi } from 'vitest'
import { type Backend, createOriel, type OrielSettings } from '../../src/app.ts'
import { childrenRunning } from './children.ts'
import { patient } from './wait.ts'

export interface TestServer {
  url: string
  /** Process ids of the running engines. */
  engines(): number[]
  /** Halts the one engine of the server as soon as its process runs, so that a test can look at it while it loads. */
  halted(): Promise<{ goOn(): void }>
  /** Kills the engines' processes, as a crash in native code would. */
  kill(): void
  close(): Promise<void>
}

/** Starts a server with the built-in model on a free port. It may fetch URLs on loopback. */
export async function startServer(
  overrides: OrielSettings = {},
  backends: readonly Backend[] = [],
): Promise<TestServer> {
  const before = new Set(children())
  const oriel = await createOriel(
    {
      media: { allowPrivate: ['127.0.0.1'] },
      prices: { input: 2, output: 10 },
      logLevel: 'silent',
      ...overrides,
      server: { port: 0, ...overrides.server },
    },
    { env: { ORIEL_DATA_DIR: process.env.ORIEL_DATA_DIR }, backends },
  )
  const { url } = await oriel.listen()
  const engines = () => children().filter((pid) => !before.has(pid))
  return {
    url,
    engines,
    async halted() {
      const [engine] = await vi.waitFor(() => {
        const running = engines()
        if (running.length !== 1) throw new Error(`${running.length} engines run`)
        return running
      }, patient)
      if (engine === undefined) throw new Error('no engine runs')
      process.kill(engine, 'SIGSTOP')
      return { goOn: () => void process.kill(engine, 'SIGCONT') }
    },
    kill() {
      for (const pid of engines()) process.kill(pid, 'SIGKILL')
    },
    close: () => oriel.close(),
  }
}

const children = (): number[] => childrenRunning('engine-process').map(({ pid }) => pid)
