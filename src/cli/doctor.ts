import { existsSync } from 'node:fs'
import { access, constants, mkdtemp, readFile, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { createOriel } from '../app.ts'
import type { Config } from '../config.ts'
import { openOnnxRuntime } from '../encoders/index.ts'
import { chooseDevice } from '../engine/index.ts'
import { OrielError } from '../errors.ts'
import { configOf, misspeltVariables } from '../load-config.ts'
import { createLogger } from '../log.ts'
import { availableMemory } from '../memory.ts'
import { packageFile } from '../places.ts'
import { availableProcessors } from '../processors.ts'
import { bytesText } from '../sizes.ts'
import { settingsOf, survey } from '../upstreams/index.ts'
import { version } from '../version.ts'
import { withAccounts } from './accounts.ts'
import { addressSpace, failureText, limitOf } from './failure.ts'
import { countedText } from './figures.ts'
import { serverHere, urlHere } from './server.ts'
import { type Flags, libraryOf } from './settings.ts'

/** What a check found. `warn`: Oriel runs, but less well than it could. */
interface Finding {
  status: 'ok' | 'warn' | 'fail'
  found: string
  cure?: string
}

type Check = (config: Config, flags: Flags) => Promise<Finding>

/** Bytes of free memory and of free disk below which there is little that runs. */
const enough = { memory: 1e9, disk: 5e9 }
const leastFiles = 1024
const answerTimeout = 60_000
const hubTimeout = 8_000

const ok = (found: string): Finding => ({ status: 'ok', found })
const warn = (found: string, cure: string): Finding => ({ status: 'warn', found, cure })
const fail = (found: string, cure: string): Finding => ({ status: 'fail', found, cure })

/** In the order in which they are printed. */
const checks: Readonly<Record<string, Check>> = {
  version: async () => ok(`Oriel ${version}, Node.js ${process.versions.node}, ${process.platform}-${process.arch}`),
  settings: async () => {
    const wrong = misspeltVariables()
    return wrong.length === 0 ? ok('every ORIEL_ variable is known') : warn(wrong.join(' '), 'Correct or unset it.')
  },
  processor: async () => {
    const cores = countedText(availableProcessors(), 'core')
    const flags = (await readFile('/proc/cpuinfo', 'utf8').catch(() => ''))
      .split('\n')
      .find((line) => /^flags/.test(line))
    return flags === undefined || /\bavx2\b/.test(flags)
      ? ok(cores)
      : warn(`${cores} without AVX2`, 'Models run, but several times as slowly as on a processor with AVX2.')
  },
  memory: async () => {
    const free = availableMemory()
    const text = `${bytesText(free)} are free`
    return free > enough.memory ? ok(text) : warn(text, 'End other programs, or raise the limit of the container.')
  },
  limits: async () => {
    const [space, files] = [addressSpace(), limitOf('open files')]
    if (Number.isFinite(space))
      return fail(`the address space is limited to ${bytesText(space)}`, 'Run `ulimit -v unlimited`.')
    return files < leastFiles
      ? warn(`${files} files may be open`, `Run \`ulimit -n ${leastFiles * 4}\`.`)
      : ok('none that matters')
  },
  temporary: async () => {
    const folder = tmpdir()
    try {
      const mine = await mkdtemp(path.join(folder, 'oriel-doctor-'))
      await writeFile(path.join(mine, 'file'), '')
      await rm(mine, { recursive: true })
      return ok(folder)
    } catch (error) {
      return warn(`${folder} cannot be written (${codeOf(error)})`, 'Set TMPDIR to a folder that this user may write.')
    }
  },
  models: async (_, flags) => {
    const { models, broken } = await libraryOf(flags).list()
    const named = models.map(({ id }) => id).join(', ')
    if (models.length === 0)
      return fail('there is none, not even the built-in one', 'Install Oriel again: npm i -g oriel.')
    if (broken.length === 0) return ok(named)
    return warn(
      `${named}; broken: ${broken.map(({ error }) => error.message).join(' ')}`,
      'Remove the broken ones with `oriel rm`, and pull them again.',
    )
  },
  folders: async (_, flags) => {
    const { hub, own } = libraryOf(flags).folders
    for (const folder of [hub, own]) {
      const why = await whyNotWritable(folder)
      if (why !== undefined)
        return warn(
          `${folder} cannot be written (${why}), so no model can be pulled into it`,
          'Change its permissions, or choose other folders with HF_HUB_CACHE and ORIEL_MODELS_DIR.',
        )
    }
    return ok(`${hub}, ${own}`)
  },
  disk: async (_, flags) => {
    const { hub } = libraryOf(flags).folders
    const { bavail, bsize } = await statfs(await existingPartOf(hub))
    const text = `${bytesText(bavail * bsize)} are free for models`
    return bavail * bsize > enough.disk
      ? ok(text)
      : warn(text, '`oriel rm` frees space; HF_HUB_CACHE chooses another disk.')
  },
  hub: async (config, flags) => {
    if (config.models.hub.offline) return ok('not used (HF_HUB_OFFLINE)')
    const signal = AbortSignal.timeout(hubTimeout)
    try {
      const { endpoint } = await libraryOf(flags).reachHub(signal)
      return ok(`${endpoint} answers`)
    } catch (error) {
      const reason = signal.aborted ? silent(config.models.hub.endpoint, hubTimeout) : textOf(error)
      return warn(
        reason,
        'Connect this machine or set HTTPS_PROXY to pull models; those that are here work without it.',
      )
    }
  },
  upstreams: async ({ upstreams }) => {
    if (upstreams.length === 0) return ok('none is configured')
    const found = await survey(settingsOf(upstreams))
    const text = found.map(({ name, models, error }) =>
      error === null ? `${name} has ${countedText(models.length, 'model')}` : error.message,
    )
    return found.every(({ error }) => error === null)
      ? ok(text.join(', '))
      : warn(text.join(' '), 'Check its url and its key in the configuration file.')
  },
  gpu: async (config, flags) => {
    const log = createLogger('silent')
    const wanted = flags.gpu ?? config.engine.gpu
    try {
      const { device, gpus } = await chooseDevice(wanted, log)
      if (device !== 'cpu') return ok(`${gpus.map(({ name }) => name).join(', ')} (${device})`)
      const isThere = wanted === 'auto' && existsSync('/dev/nvidiactl')
      if (isThere) await chooseDevice('cuda', log)
      return ok('none is used; the processor computes')
    } catch (error) {
      if (!(error instanceof OrielError)) throw error
      return warn('there is one, but it is not used', error.message)
    }
  },
  'vision runtime': async ({ engine }) => {
    if (engine.visionRuntime === 'ggml') return ok('ggml (ORIEL_VISION_RUNTIME)')
    if ((await openOnnxRuntime()) !== null) return ok('ONNX Runtime')
    return warn(
      'ONNX Runtime cannot be loaded, so ggml encodes images, which takes 2 to 5 times as long',
      'Run `npm install onnxruntime-node --ignore-scripts`. It exists for Linux with glibc, macOS on arm64 and Windows.',
    )
  },
  answer: async (_, { gpu, modelsDir }) => {
    const start = performance.now()
    const sample = fileURLToPath(packageFile('examples/sample.png'))
    const settings = { model: ['pocket'], logLevel: 'silent', engine: { gpu }, models: { dirs: modelsDir } } as const
    const oriel = await createOriel({ ...settings, model: [...settings.model] })
    const signal = AbortSignal.timeout(answerTimeout)
    try {
      const { text } = await (await oriel.ask('What is in this image?', { images: [sample], signal })).finish()
      const seconds = ((performance.now() - start) / 1000).toFixed(1)
      return /red circle/i.test(text)
        ? ok(`pocket saw a red circle, ${seconds} s after the start`)
        : fail(`pocket saw ${JSON.stringify(text)} instead of a red circle`, 'Install Oriel again: npm i -g oriel.')
    } catch (error) {
      if (!signal.aborted) throw error
      return fail(silent('pocket', answerTimeout), 'End other programs, or raise the CPU limit of the container.')
    } finally {
      await oriel.close()
    }
  },
  accounts: async ({ accounts: { databaseUrl } }) => {
    const store = databaseUrl === null ? 'SQLite' : 'PostgreSQL'
    try {
      const needsKey = await withAccounts({}, (accounts) => accounts.required())
      return ok(`${store}; requests to a server need ${needsKey ? 'an API key' : 'no API key, as none exists'}`)
    } catch (error) {
      // Questions at the terminal work without it.
      return { status: 'warn', found: await failureText(error) }
    }
  },
  server: async ({ server }) => {
    const url = urlHere(server)
    const running = await serverHere(server).catch((error: OrielError) => error)
    if (running instanceof OrielError)
      return warn(`${url} answers: ${running.message}`, '`oriel keys create` makes a key on the machine of a server.')
    if (running !== undefined) return ok(`one runs at ${url}`)
    const taken = await fetch(url, { signal: AbortSignal.timeout(500) }).then(
      () => true,
      (error: unknown) => error instanceof Error && error.name === 'TimeoutError',
    )
    return taken
      ? warn(
          `another program uses ${url}, or a server that is too busy to answer`,
          'Choose another port with --port or ORIEL_PORT.',
        )
      : ok(`none runs at ${url}; \`oriel serve\` starts one`)
  },
}

/** `oriel doctor`: checks this machine. Exits with 1 if something makes Oriel unusable. */
export async function doctor({ json, ...flags }: Flags & { json?: boolean }): Promise<void> {
  const config = configOf({ models: { dirs: flags.modelsDir } })
  const findings: { check: string; status: Finding['status']; found: string; cure?: string }[] = []
  for (const [check, look] of Object.entries(checks)) {
    const finding = await look(config, flags).catch(
      async (error: unknown): Promise<Finding> => ({ status: 'fail', found: await failureText(error) }),
    )
    findings.push({ check, ...finding })
    if (!json) process.stdout.write(lineOf(check, finding))
  }
  if (json) process.stdout.write(`${JSON.stringify({ checks: findings }, null, 2)}\n`)
  if (findings.some(({ status }) => status === 'fail')) process.exitCode = 1
}

const colours = { ok: 32, warn: 33, fail: 31 } as const

function lineOf(check: string, { status, found, cure }: Finding): string {
  const isColoured = process.stdout.isTTY && !process.env.NO_COLOR
  const word = status.padEnd(4)
  const shown = isColoured ? `\u001b[${colours[status]}m${word}\u001b[0m` : word
  const line = `${check.padEnd(14)}  ${found}`
  return `${shown}  ${line}\n${cure === undefined ? '' : `      ${' '.repeat(16)}${cure}\n`}`
}

const silent = (who: string, ms: number): string => `${who} has not answered within ${ms / 1000} seconds`

const textOf = (error: unknown): string => (error instanceof OrielError ? error.message : String(error))

async function whyNotWritable(folder: string): Promise<string | undefined> {
  const there = await existingPartOf(folder)
  if (!(await stat(there)).isDirectory()) return `${there} is a file`
  return access(there, constants.W_OK).then(
    () => undefined,
    (error: unknown) => codeOf(error),
  )
}

/** The folder itself, or the nearest one above it that exists. */
async function existingPartOf(folder: string): Promise<string> {
  const found = await stat(folder).catch(() => undefined)
  const above = path.dirname(folder)
  return found !== undefined || above === folder ? folder : existingPartOf(above)
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error)
