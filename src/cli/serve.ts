import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import type { Oriel } from '../app.ts'
import { prepareEngine } from '../engine/index.ts'
import { packageFile } from '../places.ts'
import { failureText } from './failure.ts'
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
  const { model, mmproj, modelsDir, gpu, memoryBudget, host, port, config, strict, insecure } = flags
  const hasFile = Boolean(config ?? process.env.ORIEL_CONFIG)
  // A server loads a model at its start. The engine reads its code while this process reads the rest of its own. With a
  // file, it may need none, and there may be variables that no child may have.
  if (!hasFile) prepareEngine()
  const { createOriel } = await import('../app.ts')
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
  if (hasFile) {
    process.on('SIGHUP', () => void reload(oriel))
    // Whoever read them may be gone, and a server goes on.
    for (const output of [process.stdout, process.stderr]) {
      // Another command ends when its reader has gone.
      output.removeAllListeners('error')
      output.on('error', () => {})
    }
  }

  // Each report lists the models: it is only worth it for a person who reads it.
  const onProgress = process.stderr.isTTY ? showProgress() : undefined
  const { url, models, upstreams, needsKey } = await oriel.listen({ onProgress }).catch(async (error: unknown) => {
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
  const served = [...models, ...upstreams.map((name) => `the models of ${name}`)].join(', ')
  const example = models[0] === undefined ? listCurl(url, needsKey) : exampleCurl(url, models[0], needsKey)
  process.stdout.write(`Oriel serves ${served || 'no model yet'} at ${url} (${keys})\n${example}\n\n`)
}

/** Holds to the configuration as it is now, or goes on as before if it is not allowed. */
async function reload(oriel: Oriel): Promise<void> {
  try {
    const { added, changed, removed, later } = await oriel.reload()
    const parts = Object.entries({ added, changed, removed }).flatMap(([what, names]) =>
      names.length === 0 ? [] : [`Upstreams ${what}: ${names.join(', ')}.`],
    )
    const restart = later.length === 0 ? [] : [`After a restart only: ${later.join(', ')}.`]
    process.stdout.write(`${['The configuration was read again.', ...parts, ...restart].join(' ')}\n`)
  } catch (error) {
    process.stderr.write(`oriel: ${await failureText(error)} The configuration stays as it was.\n`)
  }
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

const keyOf = (needsKey: boolean): string => (needsKey ? ' -H "authorization: Bearer $ORIEL_API_KEY"' : '')

/** Which models there are is not known before the upstreams have said it. */
const listCurl = (url: string, needsKey: boolean): string => `curl ${url}/v1/models${keyOf(needsKey)}`

/** A request that works as pasted. That to the built-in model is about a picture, which is in a file of the package. */
function exampleCurl(url: string, model: string, needsKey: boolean): string {
  const file = path.relative(process.cwd(), fileURLToPath(packageFile('examples/ask.json')))
  const text = JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello! What can you do?' }] })
  const key = keyOf(needsKey)
  const body = model === 'pocket' ? `@${file}` : `'${text}'`
  return `curl ${url}/v1/chat/completions${key} -H "content-type: application/json" -d ${body}`
}
