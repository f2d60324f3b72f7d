import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, openSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { calibrateEncoder, chosenFor } from '../src/encoders/index.ts'
import { weightsFolder } from '../src/home.ts'
import type { LoopDelay, LoopQuestion } from './event-loop.js'
import type { BenchModel } from './model-files.ts'
import { cacheFolder } from './peer.ts'

/** A running server with one model. */
export interface Server {
  readonly name: 'oriel' | 'llama-server'
  readonly url: string
  /** The model's name in requests. */
  readonly model: string
  stop(): Promise<void>
}

export interface OrielServer extends Server {
  /** Of the API process. */
  readonly pid: number
  /** Starts measuring the delay of the event loop of the API process. */
  watchLoop(): void
  /** Stops the measurement. */
  loopDelay(): Promise<LoopDelay>
}

/** Settings of both servers. */
export interface Settings {
  threads: number
  contextTokens: number
  clients: number
}

/** `auto` is the default. */
export type Precision = 'auto' | 'fp32'

const root = fileURLToPath(new URL('../', import.meta.url))

/** @param cache an empty or used folder for what it keeps on disk, by default the user's */
export async function startOriel(
  model: BenchModel,
  settings: Settings,
  precision: Precision,
  cache?: string,
): Promise<OrielServer> {
  if (precision === 'auto' && cache === undefined) await chooseForms(model, settings.threads)
  const env = {
    ORIEL_THREADS: String(settings.threads),
    ORIEL_CONTEXT: String(settings.contextTokens),
    ORIEL_VISION_PRECISION: precision,
    XDG_CACHE_HOME: cache ?? process.env.XDG_CACHE_HOME,
  }
  const args = ['--model', model.decoder, '--mmproj', model.projector]
  return serveOriel(path.basename(model.decoder, '.gguf'), args, env, `${model.id}-${precision}`)
}

/**
 * Starts `oriel serve`, and waits until it answers.
 * @param name of its log
 */
export async function serveOriel(
  model: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  name: string,
): Promise<OrielServer> {
  const port = await freePort()
  const loop = new URL('./event-loop.js', import.meta.url).href
  const log = logOf(`oriel-${name}`)
  const child = spawn(process.execPath, ['--import', loop, 'bin/oriel.js', 'serve', ...args, '--port', String(port)], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', log, log, 'ipc'],
  })
  const url = `http://127.0.0.1:${port}`
  await whenReady(child, `${url}/v1/models`)
  const tell = (question: LoopQuestion) => child.send(question)
  return {
    ...{ name: 'oriel', url, model, pid: child.pid ?? 0 },
    stop: () => stop(child),
    watchLoop: () => void tell('loop-start'),
    async loopDelay() {
      const answer = once(child, 'message')
      tell('loop-end')
      const [delay]: LoopDelay[] = await answer
      if (delay === undefined) throw new Error('Oriel did not report the delay of its event loop')
      return delay
    },
  }
}

/** A server does it while nobody asks. It must not do it during a measurement. */
async function chooseForms({ projector }: BenchModel, threads: number): Promise<void> {
  const cache = { folder: weightsFolder(), mostBytes: 16e9 }
  if (chosenFor(projector, threads, cache) !== undefined) return
  process.stdout.write('Choosing the forms of the image encoder, once for this machine\n')
  await calibrateEncoder(projector, { threads, cache }, async () => {})
}

export async function startPeer(binary: string, model: BenchModel, settings: Settings): Promise<Server> {
  const port = await freePort()
  const { patches } = model
  const args = Object.entries({
    '--model': model.decoder,
    '--mmproj': model.projector,
    '--port': port,
    '--threads': settings.threads,
    '--threads-batch': settings.threads,
    '--ctx-size': settings.contextTokens,
    '--parallel': settings.clients,
    ...(patches && { '--image-min-tokens': patches.least, '--image-max-tokens': patches.most }),
  }).flatMap(([flag, value]) => [flag, String(value)])
  const log = logOf(`llama-server-${model.id}`)
  const child = spawn(binary, args, { stdio: ['ignore', log, log] })
  const url = `http://127.0.0.1:${port}`
  await whenReady(child, `${url}/health`)
  return { name: 'llama-server', url, model: model.id, stop: () => stop(child) }
}

function logOf(name: string): number {
  const folder = path.join(cacheFolder, 'logs')
  mkdirSync(folder, { recursive: true })
  return openSync(path.join(folder, `${name}.log`), 'w')
}

/** The interval of questions whether a server is ready, in ms: the rows of loading cannot be more exact. */
const askEvery = 10
/** The time limit for loading a model, in ms. */
const loadTimeout = 120_000

async function whenReady(child: ChildProcess, url: string): Promise<void> {
  const end = performance.now() + loadTimeout
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  child.once('exit', () => process.off('exit', kill))
  while (performance.now() < end) {
    if (child.exitCode !== null) throw new Error(`a server exited while it loaded its model; see ${cacheFolder}/logs`)
    const answer = await fetch(url).catch(() => undefined)
    await answer?.body?.cancel()
    if (answer?.ok) return
    await new Promise((resolve) => setTimeout(resolve, askEvery))
  }
  child.kill('SIGKILL')
  throw new Error(`a server did not load its model in ${loadTimeout / 1000} s; see ${cacheFolder}/logs`)
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 5000)
  await gone
  clearTimeout(timer)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no port is free')
  return address.port
}
