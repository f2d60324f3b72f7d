import { pause } from '../pause.ts'
import { fetchWithKey, get, perKey, readInto, ServerError, send } from './client.ts'

/** A dataset of an account. */
export interface Dataset {
  /** `accounts/local/datasets/parts` */
  readonly name: string
  readonly displayName: string
  readonly createTime: string
  readonly state: 'UPLOADING' | 'READY'
  readonly status: { readonly code: string; readonly message: string }
  readonly report: {
    readonly examples: number
    readonly answers: number
    readonly images: number
    readonly bytes: number
    readonly duplicates: number
  } | null
  readonly problems: readonly { readonly line: number | null; readonly message: string }[]
}

/** A job that trains an adapter. */
export interface Job {
  /** `accounts/local/supervisedFineTuningJobs/abc` */
  readonly name: string
  readonly displayName: string
  readonly createTime: string
  readonly state: string
  readonly status: { readonly message: string }
  readonly dataset: string
  readonly outputModel: string
  readonly baseModel: string
  readonly warmStartFrom?: string
  readonly epochs: number
  readonly learningRate: number
  readonly loraRank: number
  readonly jobProgress: {
    readonly percent: number
    readonly totalInputRequests: number
    readonly totalProcessedRequests: number
    readonly inputTokens: number
    readonly step: number
    readonly steps?: number
    readonly loss?: number
    readonly evaluationLoss?: number
    readonly truncatedExamples: number
    readonly secondsLeft?: number
  }
  readonly metricsFileSignedUrl?: string
}

/** What a job may be told. What is left out, the server decides. */
export interface NewJob {
  readonly dataset: string
  readonly baseModel?: string
  readonly warmStartFrom?: string
  readonly outputModel?: string
  readonly epochs?: number
  readonly learningRate?: number
  readonly loraRank?: number
  readonly maxContextLength?: number
  readonly earlyStop: boolean
  readonly trainProjector: boolean
}

/** The loss at a step. */
export interface Point {
  readonly step: number
  readonly loss: number
}

export interface Curve {
  readonly steps: readonly Point[]
  readonly evaluations: readonly Point[]
}

/** What the server said last; undefined until it has. The newest first. */
export const datasets = perKey<readonly Dataset[] | undefined>(undefined)
export const jobs = perKey<readonly Job[] | undefined>(undefined)
export const tuningError = perKey<ServerError | undefined>(undefined)

/** How many there are of both: of many, the newest are read. */
export const totals = perKey({ datasets: 0, jobs: 0 })
/** Why the server lets nobody with this key begin or change a job, in its words. Empty: it has not refused. */
export const jobsRefusal = perKey('')

/** What is behind the account: `accounts/local/datasets/parts` -> `parts`. */
export const shortOf = (name: string): string => name.slice(name.lastIndexOf('/') + 1)

export const accountOf = (name: string): string => name.split('/')[1] ?? ''

const running: readonly string[] = [
  ...['JOB_STATE_PENDING', 'JOB_STATE_VALIDATING', 'JOB_STATE_RUNNING'],
  ...['JOB_STATE_WRITING_RESULTS', 'JOB_STATE_CANCELLING'],
]

/** Whether it runs, or will. */
export const isActive = ({ state }: Job): boolean => running.includes(state)

export const isDone = ({ state }: Job): boolean => ['JOB_STATE_COMPLETED', 'JOB_STATE_EARLY_STOPPED'].includes(state)

/** Entries that the page shows of each list. */
const most = 200

export const readTuning = (): Promise<void> =>
  readInto(
    tuningError,
    async () => {
      // One after the other: who has no key is refused once.
      const sets = await get<{ datasets: readonly Dataset[]; totalSize: number }>(
        `/v1/accounts/-/datasets?pageSize=${most}&orderBy=createTime%20desc`,
      )
      const all = await get<{ supervisedFineTuningJobs: readonly Job[]; totalSize: number }>(
        `/v1/accounts/-/supervisedFineTuningJobs?pageSize=${most}`,
      )
      return { sets, all }
    },
    ({ sets, all }) => {
      datasets.value = sets.datasets
      jobs.value = all.supervisedFineTuningJobs
      totals.value = { datasets: sets.totalSize, jobs: all.totalSize }
    },
  )

/** How often the lists are read while something in them changes, and otherwise, in ms. */
const [busy, calm] = [1000, 10_000]

/** Follows datasets and jobs until the signal aborts, or the server refuses to tell. */
export async function follow(over: AbortSignal): Promise<void> {
  await readTuning()
  for (let sinceRead = busy; !over.aborted && !tuningError.value?.wantsKey; sinceRead += busy) {
    await pause(busy)
    const changing = jobs.value?.some(isActive) || datasets.value?.some(isBeingChecked)
    if (over.aborted || document.hidden || (!changing && sinceRead < calm)) continue
    await readTuning()
    sinceRead = 0
  }
}

/** Whether the server reads its lines now. */
export const isBeingChecked = ({ state, status }: Dataset): boolean =>
  state === 'UPLOADING' && status.code === 'OK' && status.message !== ''

/** The loss of a job so far. @throws ServerError if it cannot be had */
export async function curveOf({ metricsFileSignedUrl }: Job): Promise<Curve> {
  const steps: Point[] = []
  const evaluations: Point[] = []
  if (metricsFileSignedUrl === undefined) return { steps, evaluations }
  // The name by which this page knows the server may be another than that which a proxy told it.
  const { pathname, search } = new URL(metricsFileSignedUrl)
  const text = await (await send(pathname + search)).text()
  for (const line of text.split('\n')) {
    if (line === '') continue
    const { type, step, loss } = JSON.parse(line) as { type: string } & Point
    if (type === 'step') steps.push({ step, loss })
    if (type === 'evaluation') evaluations.push({ step, loss })
  }
  return { steps, evaluations }
}

type Verb = 'cancel' | 'pause' | 'resume'

/** Jobs are for whoever administers the server: who may not is told once. */
const administered: typeof get = async (path, options) => {
  try {
    return await get(path, options)
  } catch (error) {
    if (error instanceof ServerError && error.status === 403) jobsRefusal.value = error.message
    throw error
  }
}

/** Each throws ServerError if the server refuses. */
export const tuningActions = {
  create: ({ dataset, ...job }: NewJob) =>
    administered<Job>(`/v1/accounts/${accountOf(dataset)}/supervisedFineTuningJobs`, {
      method: 'POST',
      body: { dataset, ...job },
    }),
  change: ({ name }: Job, verb: Verb) => administered<Job>(`/v1/${name}:${verb}`, { method: 'POST', body: {} }),
  removeJob: ({ name }: Job) => administered(`/v1/${name}`, { method: 'DELETE' }),
  removeDataset: ({ name }: Dataset) => get(`/v1/${name}`, { method: 'DELETE' }),
  /** The URLs of a dataset's file, or of those of an adapter, by their names. */
  filesOf: async (name: string): Promise<readonly { readonly name: string; readonly url: string }[]> => {
    const { filenameToSignedUrls } = await get<{ filenameToSignedUrls: Record<string, string> }>(
      `/v1/${name}:getDownloadEndpoint`,
    )
    return Object.entries(filenameToSignedUrls).map(([name, signed]) => {
      const { pathname, search } = new URL(signed)
      return { name, url: pathname + search }
    })
  },
}

/** The accounts that the key may see, by their names. @throws ServerError */
export async function visibleAccounts(): Promise<readonly string[]> {
  const { accounts } = await get<{ accounts: readonly { name: string }[] }>(`/v1/accounts?pageSize=${most}`)
  return accounts.map(({ name }) => shortOf(name))
}

/** Makes a dataset of a file, whose lines the server checks. @throws ServerError if it refuses, or if lines cannot be used */
export async function sendDataset(account: string, id: string, file: File): Promise<void> {
  const all = `/v1/accounts/${encodeURIComponent(account)}/datasets`
  const body = { datasetId: id, dataset: { userUploaded: {}, format: 'CHAT' } }
  await get(all, { method: 'POST', body }).catch(async (error: unknown) => {
    if (!(error instanceof ServerError) || error.code !== 'dataset_exists') throw error
    // A file may take the place of one that could not be used.
    const { state } = await get<Dataset>(`${all}/${encodeURIComponent(id)}`)
    if (state === 'READY') throw error
  })
  const form = new FormData()
  form.append('file', file)
  const response = await fetchWithKey(`${all}/${encodeURIComponent(id)}:upload`, { method: 'POST', body: form }).catch(
    (error: unknown) => {
      throw error instanceof ServerError ? error : new ServerError('The server cannot be reached.', 0)
    },
  )
  if (response.ok) return
  const { error } = (await response.json().catch(() => ({}))) as { error?: { message?: string } }
  throw new ServerError(error?.message ?? `The server answered with the status ${response.status}.`, response.status)
}
