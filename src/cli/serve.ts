import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { deploy, startEmbedded } from '../deployments/index.ts'
import { OrielError } from '../errors.ts'
import { createLogger } from '../log.ts'
import { findModel } from '../models/index.ts'
import { configOf, placesOf } from './settings.ts'

export interface ServeFlags {
  model?: string
  mmproj?: string
  modelsDir?: string
  host?: string
  port?: number
  strict?: boolean
}

/** Answers that are under way have this long to end by themselves when the server is told to stop. ms */
const grace = 1000
/** And after this the process goes, whatever is still open. ms */
const patience = 1900

/** `oriel serve`: listens until it is told to stop. @throws OrielError with one sentence for the person */
export async function serve({ model, mmproj, modelsDir, host, port, strict }: ServeFlags): Promise<void> {
  const config = configOf({ model, server: { host, port, strict }, ...placesOf(modelsDir) })
  const log = createLogger(config.logLevel)
  const card = await findModel(config.model, mmproj, config.models)
  // The engine loads in its own process while this one reads the HTTP server's code.
  const [backend, { createServer }, { createMedia }] = await Promise.all([
    startEmbedded(card, config, log),
    import('../api/index.ts'),
    import('../media/index.ts'),
  ])
  const deployments = deploy([backend])
  const server = createServer({ deployments, media: createMedia(config.media, log) }, config.server, log)
  await listen(server, config.server.host, config.server.port).catch(async (error: unknown) => {
    await deployments.close()
    throw error
  })
  const address = addressOf(server, config.server.host)
  process.stdout.write(`Oriel serves ${card.id} at ${address}  Try it:\n\n${exampleCurl(address, card.id)}\n\n`)

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
