import { pause } from '../pause.ts'
import { apiKey, events, get, perKey, readInto, type ServerError } from './client.ts'

/** A model of this machine or of the catalogue. null: not known. */
export interface Model {
  readonly id: string
  readonly aliases: readonly string[]
  readonly title: string
  readonly description: string
  readonly state: 'not_pulled' | 'available' | 'loading' | 'loaded' | 'failed'
  /** Of Hugging Face, from which it can be downloaded. null: Oriel knows none. */
  readonly repo: string | null
  /** The share that is loaded, 0 to 1. */
  readonly progress: number | null
  readonly error: string | null
  readonly bytes: number
  readonly licence: string | null
  readonly parameters: number | null
  readonly quantization: string | null
  readonly vision: { readonly family: string; readonly supported: boolean } | null
  readonly context_tokens: number
  readonly inputs: readonly string[]
  readonly tools: boolean | null
  readonly thoughts: boolean | null
  readonly prices: {
    readonly input: number
    readonly cached_input: number
    readonly output: number
    readonly image: number
  }
  readonly memory_bytes: number | null
  readonly fits: boolean | null
  readonly image_ms: number | null
  readonly running: number
  readonly removable: boolean
  readonly pull: Pull | null
  /** The servers elsewhere that answer for it. Empty: it is of this machine. */
  readonly upstreams: readonly string[]
}

/** A download of a model. */
export interface Pull {
  readonly id: string
  readonly model: string
  readonly state: 'running' | 'done' | 'failed' | 'cancelled'
  readonly step: 'asking' | 'downloading' | 'checking' | 'waiting' | 'retrying' | null
  readonly done_bytes: number
  /** 0: not known yet. */
  readonly total_bytes: number
  readonly bytes_per_second: number | null
  readonly seconds_left: number | null
  readonly note: string | null
  readonly error: { readonly message: string } | null
  readonly served_as: string | null
}

interface Listing {
  readonly models: readonly Model[]
  readonly memory: { readonly budget_bytes: number; readonly taken_bytes: number }
}

export interface TokensOfImage {
  readonly id: string
  readonly low: { readonly tokens: number }
  readonly auto: { readonly tokens: number }
  readonly high: { readonly tokens: number }
}

/** What the server has, as it said last; undefined until it has answered. */
export const listing = perKey<Listing | undefined>(undefined)
export const pulls = perKey<readonly Pull[]>([])
/** Why the list cannot be read; undefined: it can. */
export const listingError = perKey<ServerError | undefined>(undefined)

export const readListing = (): Promise<void> =>
  readInto(
    listingError,
    () => get<Listing>('/admin/models'),
    (told) => {
      listing.value = told
    },
  )

/** How often the list is read while something in it changes, and otherwise, in ms. */
const [busy, calm] = [1000, 10_000]

/** Follows the models and the pulls until the signal aborts, or the server refuses to tell. */
export async function follow(over: AbortSignal): Promise<void> {
  await readListing()
  void followPulls(over)
  for (let sinceRead = busy; !over.aborted && !listingError.value?.wantsKey; sinceRead += busy) {
    await pause(busy)
    const changing = listing.value?.models.some(({ state }) => state === 'loading') ?? false
    if (over.aborted || (!changing && sinceRead < calm)) continue
    await readListing()
    sinceRead = 0
  }
}

async function followPulls(over: AbortSignal): Promise<void> {
  const key = apiKey.value
  while (!over.aborted && !listingError.value?.wantsKey) {
    try {
      for await (const { pulls: now } of events<{ pulls: readonly Pull[] }>('/admin/pulls/live', { signal: over })) {
        if (apiKey.value !== key) return
        const ended = now.some(({ id, state }) => state !== 'running' && wasRunning(id))
        pulls.value = now
        if (ended) await readListing()
      }
    } catch {
      // The server restarts, or is away for a moment: the list says so.
    }
    await pause(2000)
  }
}

const wasRunning = (id: string): boolean => pulls.value.some((pull) => pull.id === id && pull.state === 'running')

const pathOf = (id: string): string => id.split('/').map(encodeURIComponent).join('/')

/** Each answers when the server has begun, and throws ServerError if it refuses. */
export const actions = {
  pull: (model: string) => get<Pull>('/admin/models/pull', { method: 'POST', body: { model } }),
  cancel: (pull: string) => get(`/admin/pulls/${pull}`, { method: 'DELETE' }),
  load: (model: string) => get('/admin/models/load', { method: 'POST', body: { model } }),
  unload: (id: string) => get(`/admin/models/${pathOf(id)}`, { method: 'DELETE' }),
  remove: (model: string, dry: boolean) =>
    get<{ files: readonly string[]; bytes: number }>('/admin/models/remove', {
      method: 'POST',
      body: { model, dry_run: dry },
    }),
}

export const tokensOf = (width: number, height: number): Promise<{ models: readonly TokensOfImage[] }> =>
  get(`/admin/models/image-tokens?width=${width}&height=${height}`)
