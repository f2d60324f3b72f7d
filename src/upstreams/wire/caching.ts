import { createHash, randomUUID } from 'node:crypto'
import type { Settings } from '../../deployments/index.ts'
import type { Fields } from './fields.ts'
import { notThere } from './refusal.ts'

/** What an ask says of cached prompts. */
export interface CacheWishes {
  /** No cached prompt may be used. */
  readonly off: boolean
  /** The keys by which cached prompts are shared, as one text. Null: with everybody. */
  readonly key: string | null
  /** Whether a client has a key of its own, beside that of its account. */
  readonly isWanted: boolean
  /** Tokens of a cached prompt that may be used. Null: all. */
  readonly most: number | null
}

export type WritesCache = (wishes: CacheWishes) => Fields

export function cacheWishes({ cachePrompt, cachedMost, isolation }: Settings): CacheWishes {
  const key = isolation.length === 0 ? null : hashed(JSON.stringify(isolation))
  return {
    off: !cachePrompt || cachedMost === 0,
    key,
    isWanted: isolation.length > 1,
    most: cachedMost === 0 ? null : cachedMost,
  }
}

/** A cache that all requests share. Accounts are apart where a server can; what a client asks for is refused where not. */
export const wholeCache: WritesCache = ({ off, isWanted, most }) => {
  if (off) throw notThere('cachePrompt', 'switch for its cache of prompts')
  if (isWanted) throw notThere('isolation', 'cached prompts that only some requests share')
  if (most !== null) throw notThere('cachedMost', 'limit of cached tokens')
  return {}
}

/** As vLLM has it: prompts with the same salt are shared, so one that nobody else has shares none. */
export const cacheSalt: WritesCache = ({ off, key, most }) => {
  if (most !== null) throw notThere('cachedMost', 'limit of cached tokens')
  if (off) return { cache_salt: randomUUID() }
  return key === null ? {} : { cache_salt: key }
}

export const fireworksCache: WritesCache = ({ off, key, most }) => ({
  ...(key === null ? {} : { prompt_cache_isolation_key: key }),
  ...(off ? { prompt_cache_max_len: 0 } : most === null ? {} : { prompt_cache_max_len: most }),
})

/** A client's key may be its secret, and APIs bound the length of keys. */
export const hashed = (key: string): string => createHash('sha256').update(key).digest('base64url')
