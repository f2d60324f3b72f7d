import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { type Deployments, deploy, embedded } from '../deployments/index.ts'
import { chooseDevice } from '../engine/devices.ts'
import { OrielError } from '../errors.ts'
import { createLogger } from '../log.ts'
import { cardsOf, configOf, libraryOf, ownMemory, placesOf } from './settings.ts'

export interface ServeFlags {
  model?: string[]
  mmproj?: string
  modelsDir?: string
  gpu?: string
  memoryBudget?: string
  host?: string
  port?: number
  strict?: boolean
}

/** Answers that are under way have this long to end by themselves when the server is told to stop. ms */
const grace = 1000
/** Between two lines about a model that is being loaded. ms */
const tellEvery = 2000
/** And after this the process goes, whatever is still open. ms */
const patience = 1900

/** `oriel serve`: listens until it is told to stop. @throws OrielError with one sentence for the person */
export async function serve(flags: ServeFlags): Promise<void> {
  const { model, mmproj, modelsDir, gpu, memoryBudget, host, port, strict } = flags
  const config = configOf({
    model,
    engine: { gpu },
    loading: { memoryBytes: memoryBudget },
    server: { host, port, strict },
    ...placesOf(modelsDir),
  })
  const log = createLogger(config.logLevel)
  const library = libraryOf(config)
  const [cards, compute] = await Promise.all([cardsOf(library, config, mmproj), chooseDevice(config.engine.gpu, log)])
  const start = embedded(config, compute.device, log)
  const deployments = deploy({ config, library, cards, start, gpuMemory: ownMemory(compute), log })
  // Engines load in their own processes while this one reads the HTTP server's code. The first ones have the time they need.
  const [{ createServer }, { createMedia }] = await Promise.all([
    import('../api/index.ts'),
    import('../media/index.ts'),
    ...cards.map(({ id }) => preload(deployments, id)),
  ]).catch(async (error: unknown) => {
    await deployments.close()
    throw error
  })
  const server = createServer({ deployments, media: createMedia(config.media, log) }, config.server, log)
  await listen(server, config.server.host, config.server.port).catch(async (error: unknown) => {
    await deployments.close()
    throw error
  })
  const address = addressOf(server, config.server.host)
  const names = cards.map(({ id }) => id)
  process.stdout.write(
    `Oriel serves ${names.join(', ')} at ${address}  Try it:\n\n${exampleCurl(address, names[0] ?? '')}\n\n`,
  )

  let stopping = false
  const stop = async (): Promise<void> => {
    if (stopping) return
    stopping = true
    setTimeout(() => process.exit(0), patience).unref()
    // New connections are refused from here on; what the engine has not finished after the grace ends with an error event.
    const closed = server.close()
    const engines = setTimeout(() => void deployments.close(), grace)
    await closed
    clearTimeout(engines)
    await deployments.close()
    process.exit(0)
  }
  process.on('SIGINT', () => void stop())
  process.on('SIGTERM', () => void stop())
}

/** Loads a model that no request waits for. A load that takes long is told of on a terminal. */
async function preload(deployments: Deployments, id: string): Promise<void> {
  const loaded = new AbortController()
  const tell = async (): Promise<void> => {
    const { progress } = await deployments.describe(id)
    if (process.stderr.isTTY && progress !== null)
      process.stderr.write(`Loading ${id}: ${Math.floor(progress * 100)} %\n`)
  }
  // What goes wrong with the model is told by the load itself.
  const timer = setInterval(() => void tell().catch(() => {}), tellEvery)
  try {
    await deployments.find(id, loaded.signal, Number.POSITIVE_INFINITY)
  } finally {
    clearInterval(timer)
    loaded.abort()
  }
}

async function listen(server: FastifyInstance, host: string, port: number): Promise<void> {
  try {
    await server.listen({ host, port })
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'EADDRINUSE')
      throw new OrielError('invalid', `Port ${port} is taken: stop what uses it, or choose another with --port.`)
    if (code === 'EACCES')
      throw new OrielError('invalid', `Port ${port} may not be used by this user: choose one above 1023 with --port.`)
    if (code === 'ENOTFOUND' || code === 'EADDRNOTAVAIL')
      throw new OrielError('invalid', `${host} is no address of this machine: choose another with --host.`)
    throw error
  }
}

function addressOf(server: FastifyInstance, host: string): string {
  const { port } = server.server.address() as AddressInfo
  const shown = host === '0.0.0.0' || host === '::' ? 'localhost' : host.includes(':') ? `[${host}]` : host
  return `http://${shown}:${port}`
}

/** A request that works as pasted: its picture, a few hundred bytes, is in it. */
function exampleCurl(address: string, model: string): string {
  const picture = readFileSync(new URL('../../examples/sample.png', import.meta.url)).toString('base64')
  const body = {
    model,
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What is in this image?' },
          { type: 'image_url', image_url: { url: `data:image/png;base64,${picture}` } },
        ],
      },
    ],
  }
  return `curl ${address}/v1/chat/completions -H 'content-type: application/json' -d '${JSON.stringify(body)}'`
}
