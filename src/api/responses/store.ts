import { LRUCache } from 'lru-cache'
import { valuesIn } from './values.ts'

/** An item of a conversation as JSON: a message, a call, a thought. */
export type StoredItem = Readonly<Record<string, unknown>>

/** A response with what it answers. Earlier turns are in the responses that it names. */
export interface StoredResponse {
  readonly response: StoredItem & {
    readonly id: string
    readonly previous_response_id: string | null
    readonly output: readonly StoredItem[]
  }
  /** The items of its own request, each with an id. */
  readonly input: readonly StoredItem[]
}

/** Whose a response is. */
export interface Owner {
  /** Only this account can read it. Its ids cannot be guessed, so on a server without keys whoever knows one may. */
  readonly account: string
  /** Who sent the request, by `clientOf`. */
  readonly client: string
}

/** Keeps responses, so that later requests may continue them. What it keeps is JSON: it may be a database. */
export interface ResponseStore {
  /** Whether a response to this input would be kept. */
  holds(input: unknown): boolean
  put(stored: StoredResponse, owner: Owner): Promise<void>
  get(id: string, owner: Pick<Owner, 'account'>): Promise<StoredResponse | undefined>
  /** @returns whether it was there */
  delete(id: string, owner: Pick<Owner, 'account'>): Promise<boolean>
}

const megabyte = 2 ** 20
const mostBytes = 64 * megabyte
/** Time after which a response that nobody uses is gone, in ms. */
const lifetime = 24 * 3600 * 1000

/**
 * Keeps responses in memory. When it is full, the client that has most in it loses its oldest, so that one client cannot
 * drive out those of the others.
 * @param most bytes of all responses together, by estimate; one may have a quarter of it
 */
export function memoryStore(most = mostBytes): ResponseStore {
  const byOwner = new Map<string, Share>()
  const byKey = new Map<string, Share>()
  const largest = most / 4

  const keyOf = (id: string, account: string): string => JSON.stringify([account, id])
  const shareOf = (owner: string): Share => {
    const found = byOwner.get(owner)
    if (found !== undefined) return found
    const made: Share = new LRUCache<string, StoredResponse>({
      maxSize: most,
      ttl: lifetime,
      updateAgeOnGet: true,
      // Not `dispose`: it is called while `size` still counts what is gone.
      disposeAfter: (_, key) => {
        byKey.delete(key)
        if (made.size === 0) byOwner.delete(owner)
      },
    })
    byOwner.set(owner, made)
    return made
  }

  return {
    holds: (input) => sizeOf(input, largest) <= largest,
    async put(stored, { account, client }) {
      const key = keyOf(stored.response.id, account)
      const size = sizeOf(stored, largest)
      if (size > largest) return
      makeRoom(byOwner, most - size)
      const own = shareOf(client)
      byKey.set(key, own)
      own.set(key, stored, { size })
    },
    async get(id, { account }) {
      const key = keyOf(id, account)
      return byKey.get(key)?.get(key)
    },
    async delete(id, { account }) {
      const key = keyOf(id, account)
      return byKey.get(key)?.delete(key) ?? false
    },
  }
}

/** What one client has in the store. */
type Share = LRUCache<string, StoredResponse>

/** @param most bytes that may stay */
function makeRoom(shares: ReadonlyMap<string, Share>, most: number): void {
  let taken = 0
  for (const { calculatedSize } of shares.values()) taken += calculatedSize
  while (taken > most) {
    let fullest: Share | undefined
    for (const share of shares.values())
      if (fullest === undefined || share.calculatedSize > fullest.calculatedSize) fullest = share
    if (fullest === undefined) return
    taken -= fullest.calculatedSize
    fullest.pop()
    taken += fullest.calculatedSize
  }
}

/** Bytes that a JSON value takes in memory, by estimate. @param enough bytes after which the rest is not counted */
function sizeOf(value: unknown, enough: number): number {
  let bytes = 0
  for (const [name, inner] of valuesIn(value)) {
    bytes +=
      64 + (typeof name === 'string' ? name.length : 0) + (typeof inner === 'string' ? Buffer.byteLength(inner) : 0)
    if (bytes > enough) break
  }
  return bytes
}
