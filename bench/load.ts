import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { ask, chat } from './clients.ts'
import type { EncoderMemory, EncoderStart } from './encoder-memory.ts'
import type { Server } from './servers.ts'

/** @returns the server, and the time from the start of its process until it has answered a request without images, in ms */
export async function load(start: () => Promise<Server>): Promise<{ server: Server; ms: number }> {
  const begin = performance.now()
  const server = await start()
  await chat(server, ask({ text: 'Hello.' }), 1)
  return { server, ms: performance.now() - begin }
}

/** Runs with a folder for what Oriel keeps on disk, which is empty at first. */
export async function withFreshCache<T>(run: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-bench-'))
  try {
    return await run(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Opens an image encoder in a process of its own, which has made its weights never before, and encodes with it. */
export const encoderMemory = (start: Omit<EncoderStart, 'cache'>): Promise<EncoderMemory> =>
  withFreshCache(async (cache) => {
    const child = fork(fileURLToPath(new URL('./encoder-memory.ts', import.meta.url)), {
      execArgv: ['--expose-gc', '--import', 'tsx'],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    child.send({ ...start, cache } satisfies EncoderStart)
    const [memory]: (EncoderMemory | number)[] = await Promise.race([once(child, 'message'), once(child, 'exit')])
    child.kill()
    if (typeof memory !== 'object') throw new Error('the process of the encoder has ended')
    return memory
  })
