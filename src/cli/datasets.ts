import { createWriteStream } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import { ownAccount } from '../accounts/index.ts'
import { OrielError } from '../errors.ts'
import { configOf } from '../load-config.ts'
import { bytesText } from '../sizes.ts'
import { datasetReport, Packer, problem, problemText, reportText } from '../tuning/index.ts'
import { confirmed } from './confirmed.ts'
import { table } from './figures.ts'
import { inAccount } from './in-account.ts'
import { interruption } from './interruption.ts'
import { isPassing, patiently } from './patience.ts'
import { askServer, requestServer, urlHere } from './server.ts'

export { validateDataset } from './validate-dataset.ts'

interface DatasetFlags {
  server?: string
  account?: string
  json?: boolean
}

const dataset = z.object({
  name: z.string(),
  displayName: z.string(),
  createTime: z.string(),
  state: z.string(),
  status: z.object({ code: z.string(), message: z.string() }),
  exampleCount: z.string(),
  report: datasetReport.nullable(),
  problems: z.array(problem),
})
type Shown = z.output<typeof dataset>

const page = z.object({ datasets: z.array(dataset), nextPageToken: z.string() })
const sent = z.object({ bytes: z.number() })
const endpoint = z.object({ filenameToSignedUrls: z.record(z.string(), z.string()) })
const nothing = z.object({})

/** Between two questions whether a server has checked all lines, in ms. */
const pollMs = 500
/** Between two updates of how much was sent, in ms. */
const redrawMs = 200

/**
 * `oriel dataset create`: sends a dataset with its pictures, and waits until its lines are checked.
 * @throws OrielError with one sentence for the person
 */
export async function createDataset(
  file: string,
  given: DatasetFlags & { id?: string; displayName?: string },
): Promise<void> {
  const { id, flags } = inAccount(given.id ?? idOf(file), given)
  const made = await sendDataset(file, { ...flags, id }, interruption())
  if (flags.json) return void process.stdout.write(`${JSON.stringify(made, null, 2)}\n`)
  process.stdout.write(
    `The dataset ${shortOf(made.name)} is ready: ${made.report === null ? '' : reportText(made.report)}.\n`,
  )
}

/**
 * Sends a dataset with its pictures, and waits until its lines are checked. Nothing of it is kept there if the signal aborts.
 * @throws OrielError as `createDataset` does
 */
export async function sendDataset(
  file: string,
  flags: Omit<DatasetFlags, 'json'> & { id: string; displayName?: string },
  signal: AbortSignal,
): Promise<Shown> {
  await needFile(file)
  const { url, send, one } = clientOf(flags)
  const { id } = flags
  const displayName = flags.displayName ?? path.basename(file).slice(0, 63)
  signal.throwIfAborted()
  await send('POST', one(), dataset, { datasetId: id, dataset: { displayName, userUploaded: {} } })
  const packer = new Packer(file, configOf({}))
  let isSent = false
  try {
    const form = formOf(path.basename(file), packer.lines())
    const response = await requestServer('POST', url, one(`${id}:upload`), { ...form, signal })
    sent.parse(await response.json())
    isSent = true
    return await checked(send, one(id), signal)
  } catch (error) {
    // It is all there, and may be ready when somebody answers again.
    if (isSent && isPassing(error))
      throw new OrielError(
        error.kind,
        `${error.message} All of ${file} was sent: \`oriel dataset show ${id}\` says later whether it can be used.`,
        { cause: error.cause },
      )
    // What cannot be used here is not kept there.
    await send('DELETE', one(id), nothing).catch(() => {})
    throw error
  } finally {
    await packer.close()
  }
}

/** `oriel dataset list`. @throws OrielError as `createDataset` does */
export async function listDatasets(flags: DatasetFlags): Promise<void> {
  const { send, one } = clientOf({ ...flags, account: flags.account ?? '-' })
  const datasets: Shown[] = []
  for (let token = ''; ; ) {
    const found = await send(
      'GET',
      one(undefined, `?${new URLSearchParams({ pageToken: token, pageSize: '200' })}`),
      page,
    )
    datasets.push(...found.datasets)
    token = found.nextPageToken
    if (token === '') break
  }
  if (flags.json) return void process.stdout.write(`${JSON.stringify({ datasets }, null, 2)}\n`)
  if (datasets.length === 0)
    return void process.stdout.write('There are no datasets. `oriel dataset create <file>` sends one.\n')
  const rows = datasets.map(({ name, displayName, report, ...one }) => [
    ...[name, displayName, stateOf(one)],
    report === null ? '' : reportText(report),
  ])
  process.stdout.write(table([['NAME', 'TITLE', 'STATE', ''], ...rows]))
}

/** `oriel dataset show`. @throws OrielError as `createDataset` does */
export async function showDataset(name: string, given: DatasetFlags): Promise<void> {
  const { id, flags } = inAccount(name, given)
  const { send, one } = clientOf(flags)
  const shown = await send('GET', one(id), z.looseObject(dataset.shape))
  if (flags.json) return void process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`)
  const rows = [
    ['name', shown.name],
    ['title', shown.displayName],
    ['state', stateOf(shown)],
    ['created', shown.createTime],
    ['has', shown.report === null ? '' : reportText(shown.report)],
  ]
  process.stdout.write(table(rows.filter(([, text]) => text !== '')))
  for (const one of shown.problems) process.stdout.write(`${problemText(one)}\n`)
}

/** `oriel dataset download`. @throws OrielError as `createDataset` does */
export async function downloadDataset(name: string, given: DatasetFlags & { output?: string }): Promise<void> {
  const { id, flags } = inAccount(name, given)
  const { url, send, one } = clientOf(flags)
  const signal = interruption()
  const { filenameToSignedUrls } = await send('GET', one(`${id}:getDownloadEndpoint`), endpoint)
  const [[file, where] = ['', '']] = Object.entries(filenameToSignedUrls)
  const { pathname, search } = new URL(where)
  // The key is for the server that was named, whatever address it gives itself.
  const { body } = await requestServer('GET', url, `${pathname}${search}`, { signal })
  if (body === null) throw new OrielError('internal', 'The server sent no file.')
  const bytes = Readable.fromWeb(body)
  if (flags.output === '-')
    return pipeline(bytes, process.stdout, { end: false, signal }).catch((error: unknown) => {
      throw signal.aborted ? signal.reason : error
    })
  // The name is the server's: it stays in this folder.
  const target = flags.output ?? path.basename(file)
  const partial = `${target}.${process.pid}.part`
  try {
    await pipeline(bytes, createWriteStream(partial), { signal })
    if (flags.output === undefined && (await isThere(target)))
      throw new OrielError('conflict', `${target} exists. Name another file with --output.`)
    await rename(partial, target)
  } catch (error) {
    await rm(partial, { force: true })
    throw signal.aborted ? signal.reason : error
  }
  process.stdout.write(`${target} was written.\n`)
}

/** `oriel dataset delete`: one that is not there is deleted. @throws OrielError as `createDataset` does */
export async function deleteDataset(name: string, given: DatasetFlags & { yes?: boolean }): Promise<void> {
  const { id, flags } = inAccount(name, given)
  const { send, one } = clientOf(flags)
  try {
    if (!flags.yes) {
      await send('GET', one(id), dataset)
      if (!(await confirmed(`Delete the dataset ${id}? [y/N] `))) return
    }
    await send('DELETE', one(id), nothing)
    process.stdout.write(`The dataset ${id} was deleted.\n`)
  } catch (error) {
    if (!(error instanceof OrielError && error.code === 'dataset_not_found')) throw error
    process.stdout.write(`There is no dataset ${id}.\n`)
  }
}

/** Ids of datasets on the server of this machine, for completion. */
export async function datasetIds(): Promise<string[]> {
  const { send, one } = clientOf({ account: '-' })
  const found = await send('GET', one(undefined, '?pageSize=200'), page).catch(() => undefined)
  return found?.datasets.map(({ name }) => shortOf(name)) ?? []
}

function clientOf({ server, account = ownAccount }: DatasetFlags) {
  const url = server ?? urlHere(configOf({}).server)
  const base = `/v1/accounts/${encodeURIComponent(account)}/datasets`
  return {
    url,
    send: <Schema extends z.ZodType>(
      method: Parameters<typeof askServer>[0],
      path: string,
      schema: Schema,
      body?: object,
    ) => askServer(method, url, path, schema, body),
    one: (id?: string, query = ''): string =>
      `${base}${id === undefined ? '' : `/${id.split(':').map(encodeURIComponent).join(':')}`}${query}`,
  }
}

type Send = ReturnType<typeof clientOf>['send']

/** A large dataset is checked for longer than a request waits. @throws OrielError why it cannot be used */
async function checked(send: Send, where: string, signal: AbortSignal): Promise<Shown> {
  for (;;) {
    const shown = await patiently(() => {
      signal.throwIfAborted()
      return send('GET', where, dataset)
    })
    if (shown.state === 'READY') return shown
    if (shown.status.code !== 'OK') throw new OrielError('invalid', shown.status.message, { code: 'invalid_dataset' })
    await pause(pollMs)
  }
}

/** A form with one file, which is written while it is sent. */
function formOf(name: string, lines: AsyncIterable<string>): RequestInit & { duplex: 'half' } {
  const boundary = `oriel-${process.pid}-${Date.now().toString(36)}`
  const shown = name.replace(/["\r\n]/g, '_')
  async function* body(): AsyncGenerator<string> {
    yield `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="${shown}"\r\ncontent-type: application/jsonl\r\n\r\n`
    yield* lines
    yield `\r\n--${boundary}--\r\n`
  }
  return {
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
    body: Readable.toWeb(Readable.from(encoded(body()))) as ReadableStream,
    duplex: 'half',
  }
}

/** The texts as bytes. A person at a terminal sees how many were sent. */
async function* encoded(texts: AsyncIterable<string>): AsyncGenerator<Buffer> {
  let [bytes, shown] = [0, performance.now()]
  for await (const text of texts) {
    const piece = Buffer.from(text)
    yield piece
    bytes += piece.length
    if (!process.stderr.isTTY || performance.now() - shown < redrawMs) continue
    shown = performance.now()
    process.stderr.write(`\r${bytesText(bytes)} sent\u001b[K`)
  }
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K')
}

/** @throws OrielError `not_found` */
async function needFile(file: string): Promise<void> {
  if (!(await isThere(file))) throw new OrielError('not_found', `There is no file ${file}.`, { code: 'file_not_found' })
}

const isThere = (file: string): Promise<boolean> =>
  stat(file).then(
    (found) => found.isFile(),
    () => false,
  )

/** The name of a file as an id: `My parts.jsonl` is `my-parts`. */
export const idOf = (file: string): string =>
  path
    .basename(file)
    .replace(/\.[^.]*$/, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 63)
    .replace(/^-+|-+$/g, '') || 'dataset'

const stateOf = ({ state, status }: Pick<Shown, 'state' | 'status'>): string =>
  state === 'READY' ? 'ready' : status.code === 'OK' ? status.message || 'waits for its file' : 'cannot be used'

/** What is behind `accounts/acme/datasets/`. */
const shortOf = (name: string): string => name.replace(/^accounts\/[^/]+\/datasets\//, '')
