import { pause } from '../pause.ts'
import { apiKey, events, perKey, ServerError } from './client.ts'

export interface Running {
  readonly id: string
  readonly account: string
  readonly model: string
  readonly endpoint: string
  readonly age_ms: number
  readonly phase: 'loading' | 'media' | 'queued' | 'encoding' | 'prefill' | 'decoding'
  readonly phase_ms: number
  readonly prompt_tokens: number | null
  readonly images: number
  readonly output_tokens: number
}

/** ms of each phase; null: it had none. */
export type Phases = Readonly<
  Record<'load_ms' | 'media_ms' | 'queue_ms' | 'encode_ms' | 'prefill_ms' | 'decode_ms', number | null>
>

export interface Finished {
  readonly id: string
  readonly account: string
  readonly model: string
  readonly endpoint: string
  readonly ended_at: string
  /** Of HTTP; 499: the client left. */
  readonly status: number
  readonly error: string | null
  readonly duration_ms: number
  readonly first_token_ms: number | null
  readonly token_ms: number | null
  readonly phases: Phases
  readonly tokens: Tokens
  readonly images: number
  readonly cost: number
}

/** `cached` is a part of the others but `output`. */
export type Tokens = Readonly<Record<'text' | 'image' | 'video' | 'audio' | 'cached' | 'output', number>>

/** Tokens of prompts. */
export const promptTokens = ({ text, image, video, audio }: Tokens): number => text + image + video + audio

type Percentiles = Readonly<Record<'p50' | 'p90' | 'p99', number>>

export interface Window {
  readonly minutes: 1 | 5 | 60
  readonly requests: number
  readonly requests_per_second: number
  readonly first_token_ms: Percentiles | null
  readonly token_ms: Percentiles | null
  readonly tokens: Tokens
  readonly output_tokens_per_second: number
  readonly prefix_hit_rate: number | null
  readonly image_hit_rate: number | null
  readonly errors: Readonly<Record<string, number>>
  readonly cost: number
}

/** A value for each of the last 60 minutes, the oldest first. */
export interface Series {
  readonly step_seconds: number
  readonly end_at: string
  readonly requests: readonly number[]
  readonly errors: readonly number[]
  readonly prompt_tokens: readonly number[]
  readonly output_tokens: readonly number[]
  readonly first_token_ms: readonly (number | null)[]
  readonly token_ms: readonly (number | null)[]
}

export interface Resident {
  readonly id: string
  readonly state: 'loading' | 'loaded'
  readonly progress: number | null
  readonly memory_bytes: number
  readonly running: number
  readonly engine: 'ok' | 'unknown' | 'restarting' | 'not_answering' | null
  readonly sequences: number | null
  readonly waiting: number | null
  readonly kv: Readonly<Record<'cells' | 'running_cells' | 'stored_cells' | 'free_cells', number>> | null
  readonly image_cache_bytes: number | null
  readonly shelved_bytes: number | null
}

export interface Snapshot {
  readonly at: string
  readonly running: readonly Running[]
  readonly running_count: number
  readonly finished: readonly Finished[]
  readonly windows: readonly Window[]
  readonly series: Series
  readonly models: readonly Resident[]
  readonly memory: Readonly<Record<'budget_bytes' | 'taken_bytes' | 'server_bytes' | 'free_bytes', number>>
}

/** What the server said last; undefined until it has. */
export const snapshot = perKey<Snapshot | undefined>(undefined)
/** The newest first. */
export const finished = perKey<readonly Finished[]>([])
export const activityError = perKey<ServerError | undefined>(undefined)
/** Whether the figures are those of this second. */
export const isLive = perKey(false)

/** Requests that the page keeps. */
const most = 300

/** Follows what the server does until the signal aborts or the key is changed, also over restarts of the server. */
export async function followActivity(over: AbortSignal): Promise<void> {
  const key = apiKey.value
  const isOver = (): boolean => over.aborted || apiKey.value !== key
  while (!isOver()) {
    try {
      for await (const now of events<Snapshot>('/admin/activity/live', { signal: over })) {
        if (isOver()) return
        // The first has all; the others those that are new.
        const before = isLive.value ? finished.value : []
        finished.value = [...now.finished, ...before].slice(0, most)
        snapshot.value = now
        isLive.value = true
        activityError.value = undefined
      }
    } catch (error) {
      if (isOver()) return
      activityError.value = error instanceof ServerError ? error : new ServerError('The server cannot be reached.', 0)
    }
    isLive.value = false
    if (activityError.value?.wantsKey) return
    await pause(2000)
  }
}
