import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { amountOf } from '../../accounts/index.ts'
import type { BackendState } from '../../deployments/index.ts'
import { availableMemory } from '../../memory.ts'
import type { Endpoint, RouteOptions } from '../dialects/dialect.ts'
import type { KnownEngine } from '../engine-states.ts'
import type { FinishedRequest, RunningRequest, Tokens } from '../monitoring/activity.ts'
import type { Tallies } from '../monitoring/recent.ts'
import { live } from './live.ts'
import { place } from './managing.ts'

const ms = z.number().min(0)
const bytes = z.number().min(0)
const count = z.int().min(0)
const share = z.number().min(0).max(1)

const asked = {
  id: z.string().describe('Of its row in the ledger. `refused_…`: it was not let in, and has none.'),
  request_id: z.string(),
  account: z.string(),
  key: z.string().nullable(),
  model: z.string().nullable().describe('null: it was not let in.'),
  endpoint: z.string(),
  dialect: z.string(),
}

const runningRequest = z.strictObject({
  ...asked,
  age_ms: ms,
  phase: z.enum(['loading', 'media', 'queued', 'encoding', 'prefill', 'decoding']),
  phase_ms: ms.describe('How long it has been in it.'),
  prompt_tokens: count.nullable(),
  image_tokens: count.nullable(),
  cached_tokens: count.nullable(),
  images: count,
  output_tokens: count,
})

const tokens = z.strictObject({ text: count, image: count, video: count, audio: count, cached: count, output: count })

const finishedRequest = z.strictObject({
  ...asked,
  ended_at: z.iso.datetime(),
  status: z.int().describe('499: the client left.'),
  error: z.string().nullable().describe('The identifier of what went wrong.'),
  duration_ms: ms,
  first_token_ms: ms.nullable(),
  token_ms: ms.nullable().describe('The mean time for each token after the first.'),
  phases: z.strictObject({
    load_ms: ms.nullable(),
    media_ms: ms.nullable(),
    queue_ms: ms.nullable(),
    encode_ms: ms.nullable(),
    prefill_ms: ms.nullable(),
    decode_ms: ms.nullable(),
  }),
  tokens: tokens.describe('`cached` are among those of the prompt, which all but `output` are.'),
  images: count,
  cost: z.number(),
})

const percentiles = z.strictObject({ p50: ms, p90: ms, p99: ms }).nullable()

const span = z.strictObject({
  minutes: z.int(),
  requests: count.describe('That ended, those that were not let in among them.'),
  requests_per_second: z.number().describe('Of these minutes, or since the start if it was later.'),
  first_token_ms: percentiles,
  token_ms: percentiles,
  tokens,
  output_tokens_per_second: z.number(),
  prefix_hit_rate: share.nullable().describe('Tokens of prompts whose KV was cached.'),
  image_hit_rate: share.nullable().describe('Images that needed no encoding.'),
  errors: z.record(z.string(), count).describe('By kind.'),
  cost: z.number(),
})

const series = z.strictObject({
  step_seconds: z.int(),
  end_at: z.iso.datetime(),
  requests: z.array(count),
  errors: z.array(count),
  prompt_tokens: z.array(count),
  output_tokens: z.array(count),
  first_token_ms: z.array(ms.nullable()),
  token_ms: z.array(ms.nullable()),
})

const residentModel = z.strictObject({
  id: z.string(),
  state: z.enum(['available', 'loading', 'loaded', 'failed']),
  progress: share.nullable(),
  memory_bytes: bytes,
  running: count.describe('Requests that use it.'),
  idle_ms: ms.nullable(),
  engine: z.enum(['ok', 'unknown', 'restarting', 'not_answering']).nullable(),
  sequences: count.nullable(),
  waiting: count.nullable().describe('Requests in the queue of its engine.'),
  kv: z.strictObject({ cells: count, running_cells: count, stored_cells: count, free_cells: count }).nullable(),
  image_cache_bytes: bytes.nullable(),
  shelved_bytes: bytes.nullable().describe('Prefixes that are kept outside the KV memory.'),
})

export const activitySnapshot = z.strictObject({
  at: z.iso.datetime(),
  running: z.array(runningRequest).describe('The oldest first, 200 at most.'),
  running_count: count,
  finished: z.array(finishedRequest).describe('The newest first, 300 at most; in a stream those since the last event.'),
  windows: z.array(span),
  series: series.describe('The last hour, minute by minute, the oldest first. Times are medians.'),
  models: z.array(residentModel),
  memory: z.strictObject({
    budget_bytes: bytes,
    taken_bytes: bytes,
    server_bytes: bytes.describe("Of the server's process, without its children."),
    free_bytes: bytes.describe('Of the machine, or of its container.'),
  }),
})

type Snapshot = z.output<typeof activitySnapshot>

/** Requests that are listed as running. */
const mostRunning = 200
/** The spans over which percentiles are taken, and the length of the series, in minutes. */
const spans = [1, 5, 60]
const seriesMinutes = 60
/** The interval of the stream, in ms, and how long a snapshot waits for the engines. */
const interval = 1000
const longestWait = 500

/** What the server does now, and did in the last hour. */
export const activityEndpoints: readonly Endpoint[] = [
  {
    ...place,
    method: 'GET',
    path: '/admin/activity',
    summary: 'What the server does now, and did in the last hour',
    answer: activitySnapshot,
    handler: (options) => (): Promise<Snapshot> => snapshotOf(options, options.activity.finished()),
  },
  {
    ...place,
    method: 'GET',
    path: '/admin/activity/live',
    summary: 'The same as a stream: at once, and then each second',
    answer: null,
    event: activitySnapshot,
    handler: (options) => {
      const watched = new SharedSnapshots(options)
      return live(async function* (signal): AsyncIterable<Snapshot> {
        for (let known = 0; !signal.aborted; ) {
          const shared = await watched.latest()
          yield shared.since(known)
          known = shared.newest
          await sleep(shared.left, undefined, { signal }).catch(() => {})
        }
      })(options)
    },
  },
]

/** The snapshots of a stream: one for each interval, however many watch. */
class SharedSnapshots {
  readonly #options: RouteOptions
  #last: Promise<SharedSnapshot> | undefined
  #madeAt = Number.NEGATIVE_INFINITY

  constructor(options: RouteOptions) {
    this.#options = options
  }

  /** One that was made in this interval. */
  latest(): Promise<SharedSnapshot> {
    const now = performance.now()
    if (this.#last === undefined || now >= this.#madeAt + interval) {
      this.#madeAt = now
      const finished = this.#options.activity.finished()
      this.#last = snapshotOf(this.#options, finished).then((whole) => new SharedSnapshot(whole, finished, now))
    }
    return this.#last
  }
}

class SharedSnapshot {
  readonly #whole: Snapshot
  readonly #finished: readonly FinishedRequest[]
  readonly #madeAt: number
  readonly #parts = new Map<number, Snapshot>()

  constructor(whole: Snapshot, finished: readonly FinishedRequest[], madeAt: number) {
    this.#whole = whole
    this.#finished = finished
    this.#madeAt = madeAt
  }

  /** The `number` of the request that ended last. */
  get newest(): number {
    return this.#finished[0]?.number ?? 0
  }

  /** Until the next one may be made, in ms. */
  get left(): number {
    return Math.max(0, this.#madeAt + interval - performance.now())
  }

  /** With the requests that ended after the one of this number. Who knows the same gets the same object. */
  since(known: number): Snapshot {
    const count = this.#finished.filter(({ number }) => number > known).length
    const part = this.#parts.get(count) ?? { ...this.#whole, finished: this.#whole.finished.slice(0, count) }
    this.#parts.set(count, part)
    return part
  }
}

async function snapshotOf(
  { services, activity, engines }: RouteOptions,
  finished: readonly FinishedRequest[],
): Promise<Snapshot> {
  const { deployments } = services
  const { budget, taken } = deployments.memory
  const states = new Map((await engines.fresh(longestWait)).map((engine) => [engine.model, engine]))
  const windows: Snapshot['windows'] = []
  for (const minutes of spans) {
    windows.push({ minutes, ...spanOf(activity.recent.last(minutes)) })
    // Each sums up to an hour: answers go between.
    await nextTurn()
  }
  const running = [...activity.running]
  const at = new Date().toISOString()
  return {
    at,
    running: running.slice(0, mostRunning).map(shownRunning),
    running_count: running.length,
    finished: finished.map(shownFinished),
    windows,
    series: seriesOf(activity.recent.minutes(seriesMinutes), at),
    models: deployments.residents().map(({ id, state, progress, bytes, users, idleMs }) => ({
      ...{ id, state, progress: state === 'loading' ? progress : null, memory_bytes: bytes, running: users },
      idle_ms: state === 'loaded' && idleMs !== null ? Math.round(idleMs) : null,
      ...engineOf(states.get(id)),
    })),
    memory: {
      ...{ budget_bytes: budget, taken_bytes: taken },
      ...{ server_bytes: process.memoryUsage.rss(), free_bytes: availableMemory() },
    },
  }
}

function shownRunning(request: RunningRequest): Snapshot['running'][number] {
  const { asked, began, phase, phaseBegan, answer, tokens } = request
  const now = performance.now()
  return {
    ...whoOf(asked),
    ...{ age_ms: Math.round(now - began), phase, phase_ms: Math.round(now - phaseBegan) },
    prompt_tokens: tokens === undefined ? null : promptOf(tokens),
    ...{ image_tokens: tokens?.image ?? null, cached_tokens: tokens?.cached ?? null },
    ...{ images: answer?.answer.usage.imageTokens.length ?? 0, output_tokens: tokens?.output ?? 0 },
  }
}

function shownFinished(request: FinishedRequest): Snapshot['finished'][number] {
  const { ended, status, error, duration, firstToken, perToken, phases, tokens, images, cost } = request
  return {
    ...whoOf(request),
    ...{ ended_at: ended.toISOString(), status, error, duration_ms: rounded(duration) },
    ...{ first_token_ms: roundedOrNull(firstToken), token_ms: roundedOrNull(perToken) },
    phases: {
      load_ms: roundedOrNull(phases.load),
      media_ms: roundedOrNull(phases.media),
      queue_ms: roundedOrNull(phases.queue),
      encode_ms: roundedOrNull(phases.encode),
      prefill_ms: roundedOrNull(phases.prefill),
      decode_ms: roundedOrNull(phases.decode),
    },
    ...{ tokens: { ...tokens }, images, cost: amountOf(cost) },
  }
}

const promptOf = ({ text, image, video, audio }: Omit<Tokens, 'cached' | 'output'>): number =>
  text + image + video + audio

const whoOf = ({ id, requestId, account, key, model, endpoint, dialect }: RunningRequest['asked']) => ({
  ...{ id, request_id: requestId, account, key, model, endpoint, dialect },
})

function spanOf({
  tallies,
  seconds,
}: {
  tallies: Tallies
  seconds: number
}): Omit<Snapshot['windows'][number], 'minutes'> {
  const { requests, text, image, video, audio, cached, output, images, cachedImages } = tallies
  const times = (spread: Tallies['firstToken']) => {
    const at = (share: number): number => rounded(spread.percentile(share) ?? 0)
    return spread.isEmpty ? null : { p50: at(0.5), p90: at(0.9), p99: at(0.99) }
  }
  const rate = (part: number, whole: number): number | null => (whole === 0 ? null : Math.min(1, part / whole))
  return {
    ...{ requests, requests_per_second: requests / seconds },
    ...{ first_token_ms: times(tallies.firstToken), token_ms: times(tallies.perToken) },
    ...{ tokens: { text, image, video, audio, cached, output }, output_tokens_per_second: output / seconds },
    ...{ prefix_hit_rate: rate(cached, promptOf(tallies)), image_hit_rate: rate(cachedImages, images) },
    ...{ errors: Object.fromEntries(tallies.errors), cost: amountOf(tallies.cost) },
  }
}

function seriesOf(minutes: readonly Tallies[], at: string): Snapshot['series'] {
  return {
    ...{ step_seconds: 60, end_at: at },
    requests: minutes.map(({ requests }) => requests),
    errors: minutes.map(({ failures }) => failures),
    prompt_tokens: minutes.map(promptOf),
    output_tokens: minutes.map(({ output }) => output),
    first_token_ms: minutes.map(({ firstToken }) => roundedOrNull(firstToken.percentile(0.5))),
    token_ms: minutes.map(({ perToken }) => roundedOrNull(perToken.percentile(0.5))),
  }
}

/** What an engine last said of itself. A backend of the program's own has no KV memory. */
function engineOf(engine: KnownEngine | undefined) {
  const state = engine?.last?.state
  return {
    engine: engine?.status ?? null,
    sequences: state?.running ?? null,
    waiting: state?.waiting ?? null,
    kv: kvOf(state),
    image_cache_bytes: state?.encoderCacheBytes ?? null,
    shelved_bytes: state?.shelvedBytes ?? null,
  }
}

function kvOf(state: BackendState | undefined): Snapshot['models'][number]['kv'] {
  if (state?.cells === undefined) return null
  const { cells, freeCells = 0, storedCells = 0 } = state
  const running = Math.max(0, cells - freeCells - storedCells)
  return { cells, running_cells: running, stored_cells: storedCells, free_cells: freeCells }
}

/** To a tenth of a ms. */
const rounded = (time: number): number => Math.round(time * 10) / 10
const roundedOrNull = (time: number | null): number | null => (time === null ? null : rounded(Math.max(0, time)))
