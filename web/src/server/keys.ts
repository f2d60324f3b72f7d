import { apiKey, get, perKey, readInto, ServerError } from './client.ts'
import { usageOfMonth } from './usage.ts'

export const scopes = {
  inference: 'Ask models',
  usage: 'Read its usage',
  metrics: 'Read the metrics',
  admin: 'Administer the server',
} as const
export type Scope = keyof typeof scopes

export interface Key {
  readonly id: string
  readonly account: string
  /** The first characters of its secret. */
  readonly prefix: string
  readonly scopes: readonly Scope[]
  /** null: all. */
  readonly models: readonly string[] | null
  /** For each month, in the currency of the prices. */
  readonly budget: number | null
  readonly note: string
  readonly created: string
  readonly expires: string | null
  readonly revoked: string | null
}

export interface Account {
  readonly id: string
  readonly tier: string | null
  readonly budget: number | null
}

export interface NewKey {
  readonly account: string
  readonly scopes: readonly Scope[]
  readonly models?: readonly string[]
  readonly budget?: number
  readonly note?: string
  readonly expires?: string
}

export type KeyWithSecret = Key & { readonly secret: string }

interface Page<Entry> {
  readonly data: readonly Entry[]
  readonly last_id: string | null
  readonly has_more: boolean
}

/** What the server said last; undefined until it has. */
export const keys = perKey<readonly Key[] | undefined>(undefined)
export const accounts = perKey<readonly Account[]>([])
/** What each key has cost this month, by its id. */
export const spent = perKey<ReadonlyMap<string, number>>(new Map())
/** Whether the server has no key yet. */
export const hasNoKeys = perKey(false)
export const keysError = perKey<ServerError | undefined>(undefined)

export const readKeys = (): Promise<void> =>
  readInto(
    keysError,
    async () => {
      const costs = await costsOfMonth()
      const found = apiKey.value === '' ? undefined : await everyKey()
      return { costs, found, owners: found === undefined ? [] : await all<Account>('/admin/accounts') }
    },
    ({ costs, found, owners }) => {
      spent.value = costs
      hasNoKeys.value = found === undefined
      accounts.value = owners
      keys.value = found
    },
  )

/**
 * undefined: who may read the costs and not the keys is on a server without keys, which lists and makes none over HTTP. That is
 * so for all who have no key. This browser may also have the key of an older server.
 */
const everyKey = (): Promise<Key[] | undefined> =>
  all<Key>('/admin/keys').catch((error: unknown) => {
    if (error instanceof ServerError && error.status === 403) return undefined
    throw error
  })

/** Every entry of a list that comes in pages. */
async function all<Entry>(path: string): Promise<Entry[]> {
  const found: Entry[] = []
  for (let after: string | null = ''; after !== null; ) {
    const page: Page<Entry> = await get(`${path}?limit=100${after === '' ? '' : `&after=${encodeURIComponent(after)}`}`)
    found.push(...page.data)
    after = page.has_more ? page.last_id : null
  }
  return found
}

async function costsOfMonth(): Promise<ReadonlyMap<string, number>> {
  const sums = await usageOfMonth('key')
  return new Map(sums.flatMap(({ key, cost }) => (key === null ? [] : [[key, cost] as const])))
}

/** Each throws ServerError if the server refuses. */
export const keyActions = {
  create: (key: NewKey) => get<KeyWithSecret>('/admin/keys', { method: 'POST', body: key }),
  rotate: (id: string, graceSeconds: number) =>
    get<KeyWithSecret>(`/admin/keys/${id}/rotate`, { method: 'POST', body: { grace_seconds: graceSeconds } }),
  revoke: (id: string) => get<Key>(`/admin/keys/${id}`, { method: 'DELETE' }),
  change: (account: string, change: { tier: string | null; budget: number | null }) =>
    get<Account>(`/admin/accounts/${encodeURIComponent(account)}`, { method: 'PATCH', body: change }),
  erase: (account: string) =>
    get<{ keys: number; requests: number }>(`/admin/accounts/${encodeURIComponent(account)}`, { method: 'DELETE' }),
}

/** What becomes of a key, in a word. */
export function stateOf({ revoked, expires }: Key): { text: string; tone: '' | 'good' | 'bad' } {
  if (revoked !== null) return { text: 'Revoked', tone: 'bad' }
  if (expires !== null && Date.parse(expires) <= Date.now()) return { text: 'Expired', tone: 'bad' }
  return { text: 'Works', tone: 'good' }
}
