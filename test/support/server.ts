import { execFileSync } from 'node:child_process'
import { createServer } from '../../src/api/index.ts'
import { loadConfig } from '../../src/config.ts'
import { deploy, embedded } from '../../src/deployments/index.ts'
import { imageFamilies } from '../../src/encoders/index.ts'
import { createLogger } from '../../src/log.ts'
import { createMedia } from '../../src/media/index.ts'
import { createLibrary } from '../../src/models/index.ts'

export interface TestServer {
  url: string
  /** Process ids of the engines that run. */
  engines(): number[]
  /** Kills the engines' processes, as a crash in native code would. */
  kill(): void
  close(): Promise<void>
}

/** The whole server with the built-in model, on a free port. URLs on loopback may be fetched. */
export async function startServer(overrides: Parameters<typeof loadConfig>[0] = {}): Promise<TestServer> {
  const config = loadConfig(
    { media: { allowPrivate: ['127.0.0.1'] }, prices: { input: 2, output: 10 }, ...overrides },
    {},
  )
  const log = createLogger('silent')
  const before = new Set(children())
  const library = createLibrary(config.models, imageFamilies)
  const cards = await Promise.all(config.model.map((name) => library.find(name)))
  const deployments = deploy({ config, library, cards, start: embedded(config, 'cpu', log), gpuMemory: undefined, log })
  const loaded = new AbortController()
  for (const { id } of cards) await deployments.find(id, loaded.signal)
  loaded.abort()
  const engines = () => children().filter((pid) => !before.has(pid))
  const server = createServer({ deployments, media: createMedia(config.media) }, config.server, log)
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  return {
    url,
    engines,
    kill() {
      for (const pid of engines()) process.kill(pid, 'SIGKILL')
    },
    async close() {
      await server.close()
      await deployments.close()
    },
  }
}

/** Process ids of this process's children that are engines. */
function children(): number[] {
  const list = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)], { encoding: 'utf8' })
  return list
    .split('\n')
    .filter((line) => line.includes('engine/process.ts'))
    .map((line) => Number.parseInt(line.trim(), 10))
}
