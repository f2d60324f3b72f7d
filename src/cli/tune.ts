import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import { onAbort } from '../abort.ts'
import { ownAccount } from '../accounts/index.ts'
import { OrielError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { configOf } from '../load-config.ts'
import { createWarner } from '../log.ts'
import { curve } from './curve.ts'
import { idOf, sendDataset } from './datasets.ts'
import { countedText, durationText } from './figures.ts'
import { interruption } from './interruption.ts'
import { isPassing, patiently } from './patience.ts'
import { askServer, noteOwnKey, requestServer, serverAt, serverHere, urlHere } from './server.ts'
import { lossText, TuneProgressLine } from './tune-progress.ts'

export interface TuneFlags {
  base?: string
  warmStart?: string
  name?: string
  evaluation?: string
  carveOut?: boolean
  epochs?: number
  learningRate?: number
  rank?: number
  batch?: number
  maxContextLength?: number
  earlyStop?: boolean
  projector?: boolean
  trainer?: string
  resume?: string
  server?: string
  local?: boolean
  modelsDir?: string[]
  account?: string
  json?: boolean
}

const job = z.object({
  name: z.string(),
  state: z.string(),
  status: z.object({ message: z.string() }),
  dataset: z.string(),
  evaluationDataset: z.string().optional(),
  outputModel: z.string(),
  baseModel: z.string(),
  jobProgress: z.object({
    percent: z.number(),
    step: z.number(),
    steps: z.number().optional(),
    loss: z.number().optional(),
    evaluationLoss: z.number().optional(),
    bestStep: z.number().optional(),
    inputTokens: z.number(),
    secondsLeft: z.number().optional(),
    totalInputRequests: z.number(),
    truncatedExamples: z.number(),
  }),
  metricsFileSignedUrl: z.string().optional(),
})
type Job = z.output<typeof job>

const nothing = z.object({})

/** Between two questions how far it is, in ms. */
const pollMs = 400

/** What stops it with a checkpoint: Ctrl-C, the end of the machine or of the service, and that of the terminal. */
const stops = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** A dataset that was sent by this command alone, and is removed when it is of no more use. @param random the end of the job's id */
const ownDataset = (random: string, kind: '' | '-eval' = ''): string => `tune-${random}${kind}`

/**
 * `oriel tune`: trains an adapter, on the server that runs here or in this process. Ctrl-C stops it with a checkpoint.
 * @throws OrielError with one sentence for the person
 */
export async function tune(file: string | undefined, flags: TuneFlags): Promise<void> {
  if ((file === undefined) === (flags.resume === undefined))
    throw new OrielError('invalid', 'Name a dataset (oriel tune data.jsonl), or a job to go on with (--resume <job>).')
  const interrupted = interruption(stops)
  const server = await serverFor(flags)
  const client = clientOf(server.url, flags.account ?? ownAccount)
  try {
    const began = performance.now()
    const id = flags.resume ?? (await begin(file ?? '', flags, client, interrupted))
    if (flags.resume !== undefined) await resume(id, client)
    // Who must end this process by force needs it to go on.
    else process.stderr.write(`The job is ${id}.\n`)
    const goOn = `oriel tune --resume ${id}${flagsText({ account: flags.account, ...placeOf(flags) })}`
    const done = await follow(id, client, { interrupted, goOn })
    await tell(done, client, { seconds: (performance.now() - began) / 1000, flags })
    for (const name of [done.dataset, done.evaluationDataset ?? ''])
      if (isOwnDataset(shortOf(name), id))
        await client.send('DELETE', `${client.base}/datasets/${shortOf(name)}`, nothing).catch(() => {})
  } finally {
    await server.close()
  }
}

type Client = ReturnType<typeof clientOf>

function clientOf(url: string, account: string) {
  const base = `/v1/accounts/${encodeURIComponent(account)}`
  return {
    ...{ url, account, base, jobs: `${base}/supervisedFineTuningJobs` },
    send: <Schema extends z.ZodType>(method: 'GET' | 'POST' | 'DELETE', path: string, schema: Schema, body?: object) =>
      askServer(method, url, path, schema, body),
  }
}

/** @returns the id of the job */
async function begin(file: string, flags: TuneFlags, client: Client, signal: AbortSignal): Promise<string> {
  if ((flags.base === undefined) === (flags.warmStart === undefined))
    throw new OrielError(
      'invalid',
      'Name the model to train (--base pocket), or the adapter to go on from (--warm-start).',
    )
  const output = flags.name ?? idOf(file)
  const random = randomBytes(4).toString('hex')
  const id = `${output
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 50)}-${random}`
  const { url: server, account } = client
  const sent: string[] = []
  const send = async (from: string, dataset: string): Promise<string> => {
    const { name } = await sendDataset(from, { id: dataset, server, account }, signal)
    sent.push(name)
    return name
  }
  try {
    const dataset = await send(file, ownDataset(random))
    const evaluationDataset =
      flags.evaluation === undefined ? undefined : await send(flags.evaluation, ownDataset(random, '-eval'))
    signal.throwIfAborted()
    await client.send('POST', `${client.jobs}?supervisedFineTuningJobId=${id}`, job, {
      ...{ dataset, evaluationDataset, evalAutoCarveout: flags.carveOut },
      ...{ baseModel: flags.base, warmStartFrom: flags.warmStart, outputModel: output, trainer: flags.trainer },
      ...{ epochs: flags.epochs, learningRate: flags.learningRate, loraRank: flags.rank, earlyStop: flags.earlyStop },
      trainProjector: flags.projector,
      ...{ batchSizeSamples: flags.batch, maxContextLength: flags.maxContextLength },
    })
  } catch (error) {
    for (const name of sent)
      await client.send('DELETE', `${client.base}/datasets/${shortOf(name)}`, nothing).catch(() => {})
    if (error instanceof OrielError && error.code === 'model_exists')
      throw new OrielError('conflict', `${error.message} Name the adapter with --name.`)
    throw error
  }
  return id
}

/** Lets a job go on. One that goes on already, or has come to its end, is only followed. */
async function resume(id: string, client: Client): Promise<void> {
  await client.send('POST', `${client.jobs}/${id}:resume`, job, {}).catch((error: unknown) => {
    if (!(error instanceof OrielError && error.code === 'wrong_job_state')) throw error
  })
}

/** Where a job is, and later its adapter: another command that is to find it needs these flags, too. */
const placeOf = ({ server, local, modelsDir }: TuneFlags) => ({ server, local, 'models-dir': modelsDir?.[0] })

/** As a shell takes it literally: POSIX shells read nothing between single quotes, and cmd.exe knows only double ones. */
const shellWord = (value: string): string =>
  process.platform === 'win32' ? `"${value}"` : `'${value.replaceAll("'", `'\\''`)}'`

/** Flags as a person writes them behind a command. */
const flagsText = (flags: Readonly<Record<string, string | boolean | undefined>>): string =>
  Object.entries(flags)
    .flatMap(([name, value]) => {
      if (value === undefined || value === false) return []
      if (value === true) return ` --${name}`
      return ` --${name} ${/^[\w./:@-]+$/.test(value) ? value : shellWord(value)}`
    })
    .join('')

/**
 * Waits for the end of a job.
 * @param goOn the command with which a person lets it go on
 * @throws OrielError why it failed; that it was stopped, with the way to go on
 */
async function follow(
  id: string,
  client: Client,
  { interrupted, goOn }: { interrupted: AbortSignal; goOn: string },
): Promise<Job> {
  const progress = new TuneProgressLine(process.stderr)
  const where = `${client.jobs}/${id}`
  let pausing: Promise<unknown> = Promise.resolve()
  const removeListener = onAbort(interrupted, () => {
    // A terminal that is gone must not keep it from its checkpoint.
    process.stderr.on('error', () => {})
    progress.end()
    process.stderr.write('It stops, and keeps a checkpoint.\n')
    pausing = patiently(() => client.send('POST', `${where}:pause`, job, {})).catch(() => {})
  })
  try {
    for (;;) {
      await pausing
      const now = await patiently(() => client.send('GET', where, job), interrupted.aborted ? { waitMs: 0 } : {}).catch(
        (error: unknown) => {
          if (!isPassing(error)) throw error
          throw new OrielError(error.kind, `${error.message} Go on later with: ${goOn}`, {
            cause: error.cause,
          })
        },
      )
      switch (now.state) {
        case 'JOB_STATE_COMPLETED':
        case 'JOB_STATE_EARLY_STOPPED':
          return now
        case 'JOB_STATE_FAILED':
          throw new OrielError('precondition_failed', `The job ${id} failed. ${now.status.message}`)
        case 'JOB_STATE_PAUSED':
        case 'JOB_STATE_CANCELLED':
          progress.end()
          process.stderr.write(`The job was stopped at step ${now.jobProgress.step}. Go on with: ${goOn}\n`)
          throw new OrielError('cancelled', 'Stopped.', { code: 'interrupted' })
      }
      if (!interrupted.aborted) progress.show({ state: now.state, ...now.jobProgress })
      await pause(pollMs)
    }
  } finally {
    removeListener()
    progress.end()
  }
}

const happened = z.object({ type: z.string(), loss: z.number() })

/** Says what came of a job: its curve for a person, and how to ask the adapter. */
async function tell(
  done: Job,
  client: Client,
  { seconds, flags }: { seconds: number; flags: TuneFlags },
): Promise<void> {
  const [output, base] = [shortOf(done.outputModel), shortOf(done.baseModel)]
  const { jobProgress: progress, metricsFileSignedUrl } = done
  const model = `${base}#${output}`
  if (flags.json) {
    const result = { job: shortOf(done.name), model, state: done.state, seconds, progress }
    return void process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
  }
  const losses = await lossesOf(metricsFileSignedUrl, client)
  process.stdout.write(`${curve(losses, process.stdout.columns || 80)}`)
  const facts = [
    countedText(progress.step, 'step'),
    ...(progress.bestStep === undefined || progress.bestStep === progress.step
      ? []
      : [`the best after ${progress.bestStep}`]),
    ...(progress.loss === undefined ? [] : [`loss ${lossText(progress.loss)}`]),
    ...(progress.evaluationLoss === undefined ? [] : [`evaluation loss ${lossText(progress.evaluationLoss)}`]),
    durationText(seconds),
  ]
  const cut =
    progress.truncatedExamples === 0
      ? ''
      : ` ${progress.truncatedExamples} examples were longer than the context, and were cut.`
  const early =
    done.state === 'JOB_STATE_EARLY_STOPPED' ? ' It was stopped early: the evaluation loss fell no more.' : ''
  process.stdout.write(`The adapter ${output} is ready: ${facts.join(', ')}.${early}${cut}\n`)
  const ask = `oriel ask --model ${model}${flagsText(placeOf(flags))}`
  process.stdout.write(`Ask it: ${ask} photo.jpg "What is in this image?"\n`)
}

/** Of each step. */
async function lossesOf(url: string | undefined, { url: server }: Client): Promise<number[]> {
  if (url === undefined) return []
  const { pathname, search } = new URL(url)
  const text = await (await requestServer('GET', server, `${pathname}${search}`)).text()
  return text.split('\n').flatMap((line) => {
    const { data } = happened.safeParse(parseJson(line))
    return data?.type === 'step' ? [data.loss] : []
  })
}

/** Whether `begin` has sent it for this job: a person may have given a dataset of theirs such a name. */
function isOwnDataset(dataset: string, job: string): boolean {
  const [, random] = /-([0-9a-f]{8})$/.exec(job) ?? []
  return random !== undefined && [ownDataset(random), ownDataset(random, '-eval')].includes(dataset)
}

const shortOf = (name: string): string => name.replace(/^accounts\/[^/]+\/[^/]+\//, '')

interface Server {
  url: string
  close(): Promise<void>
}

/** The server that is named or that runs here, or else one in this process, for this command alone. */
async function serverFor({ server, local, modelsDir }: TuneFlags): Promise<Server> {
  if (server !== undefined) {
    if (local) throw new OrielError('invalid', '--server names a server, and --local asks none. Use one of them.')
    return { url: (await serverAt(server)).url, close: async () => {} }
  }
  const config = configOf({})
  if (!local && modelsDir === undefined && (await serverHere(config.server)) !== undefined)
    return { url: urlHere(config.server), close: async () => {} }
  const { createOriel } = await import('../app.ts')
  const key = randomBytes(24).toString('hex')
  const warn = (sentence: string): void => void process.stderr.write(`${sentence}\n`)
  const around = process.env.ORIEL_LOG_LEVEL ? {} : { log: createWarner(warn) }
  const oriel = await createOriel({ model: [], models: { dirs: modelsDir }, accounts: { adminKey: key } }, around)
  const { url } = await oriel
    .listen({ host: '127.0.0.1', port: 0, resumesJobs: false })
    .catch(async (error: unknown) => {
      await oriel.close()
      throw error
    })
  noteOwnKey(url, key)
  return { url, close: () => oriel.close() }
}
