import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { prepareEngine } from '../engine/index.ts'
import { packageFile } from '../places.ts'
import type { Flags } from './settings.ts'

interface ServeFlags extends Flags {
  model?: string[]
  memoryBudget?: string
  host?: string
  port?: number
  config?: string
  strict?: boolean
  insecure?: boolean
}

/** Time after which the drained process exits, in ms. Until then usage is written, for which a database may need a second or two. */
const exitDeadline = 4000
/** npm passes on to its script what a terminal has sent to both: within this time, in ms, a second signal is the first. */
const sameSignal = 500

/** `oriel serve`: serves HTTP until SIGINT or SIGTERM; the second one ends it without waiting. @throws OrielError with one sentence for the person */
export async function serve(flags: ServeFlags): Promise<void> {
  // A server loads a model at its start. The engine reads its code while this process reads the rest of its own.
  prepareEngine()
  const { createOriel } = await import('../app.ts')
  const { model, mmproj, modelsDir, gpu, memoryBudget, host, port, config, strict, insecure } = flags
  const oriel = await createOriel({
    file: config,
    model,
    mmproj,
    engine: { gpu },
    loading: { memoryBytes: memoryBudget },
    server: { host, port, strict, insecure },
    models: { dirs: modelsDir },
  })
  let stopping: number | undefined
  const hurry = new AbortController()
  const stop = async (): Promise<void> => {
    if (stopping !== undefined) {
      if (performance.now() - stopping > sameSignal) hurry.abort()
      return
    }
    stopping = performance.now()
    await oriel.drain(hurry.signal)
    setTimeout(() => process.exit(0), exitDeadline).unref()
    await oriel.close({ graceMs: 0 })
    process.exit(0)
  }
  process.on('SIGINT', () => void stop())
  process.on('SIGTERM', () => void stop())

  // Each report lists the models: it is only worth it for a person who reads it.
  const onProgress = process.stderr.isTTY ? showProgress() : undefined
  const { url, models, needsKey } = await oriel.listen({ onProgress }).catch(async (error: unknown) => {
    // Stopped while it loads: the process is about to exit.
    if (stopping !== undefined) await new Promise(() => {})
    await oriel.close()
    throw error
  })
  // On a machine with much memory V8 lets garbage grow to several times what is in use before it looks for it. Code is no
  // garbage: while it is read, to look for some takes time that somebody waits for.
  setFlagsFromString('--heap-growing-percent=30')
  const keys = needsKey
    ? 'requests need an API key, which the example has in $ORIEL_API_KEY'
    : 'no API key is needed: none exists'
  process.stdout.write(
    `Oriel serves ${models.join(', ')} at ${url} (${keys})\n${exampleCurl(url, models[0], needsKey)}\n\n`,
  )
}

/** Writes a line every two seconds about a model that takes long to load. */
function showProgress(): (model: string, share: number) => void {
  let shown = performance.now()
  return (model, share) => {
    if (performance.now() - shown < 2000) return
    shown = performance.now()
    process.stderr.write(`Loading ${model}: ${Math.floor(share * 100)} %\n`)
  }
}

/** A request that works as pasted. That to the built-in model is about a picture, which is in a file of the package. */
function exampleCurl(url: string, model: string | undefined, needsKey: boolean): string {
  const file = path.relative(process.cwd(), fileURLToPath(packageFile('examples/ask.json')))
  const text = JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello! What can you do?' }] })
  const key = needsKey ? ' -H "authorization: Bearer $ORIEL_API_KEY"' : ''
  const body = model === 'pocket' ? `@${file}` : `'${text}'`
  return `curl ${url}/v1/chat/completions${key} -H "content-type: application/json" -d ${body}`
}
