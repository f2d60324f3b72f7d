import { readFile, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import path from 'node:path'
import { z } from 'zod'
import { startProcess } from '../children/index.ts'
import { cacheFolder } from '../home.ts'
import { parseJson } from '../json.ts'
import { makeFolder } from '../make-folder.ts'
import { programFile } from '../places.ts'

const keptSchema = z.object({ machine: z.string(), operations: z.number().positive(), at: z.number() })
/** Age at which a measurement is repeated, in ms. */
const staleMs = 86_400_000
/** Time that a measurement may take, in ms. */
const probeTimeout = 20_000

/**
 * Floating-point operations a second that this processor computes; null if it cannot be measured. The measured speed is kept.
 * When it is measured again, the higher one counts: other programs slow a measurement down.
 */
export async function operationsHere(threads: number): Promise<number | null> {
  const machine = `${cpus()[0]?.model ?? ''}, ${threads} threads`
  const folder = cacheFolder()
  const file = path.join(folder, 'speed.json')
  const { data } = keptSchema.safeParse(parseJson(await readFile(file, 'utf8').catch(() => '')))
  const kept = data?.machine === machine ? data : undefined
  if (kept !== undefined && Math.abs(Date.now() - kept.at) < staleMs) return kept.operations
  const measured = await probed(threads)
  if (measured === null) return null
  const operations = Math.max(measured, kept?.operations ?? 0)
  // Without a home that can be written it is measured each time.
  await makeFolder(folder).catch(() => {})
  await writeFile(file, JSON.stringify({ machine, operations, at: Date.now() })).catch(() => {})
  return operations
}

/** In a child process: ONNX Runtime blocks the event loop that it computes in. */
const probed = (threads: number): Promise<number | null> =>
  new Promise((resolve) => {
    const child = startProcess(programFile('machine/speed-probe'), {
      args: [String(threads)],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      timeout: probeTimeout,
    })
    child.on('message', ({ operations }: { operations: number | null }) => resolve(operations))
    child.once('exit', () => resolve(null))
    child.once('error', () => resolve(null))
  })
