import type { Kysely } from 'kysely'

/** Everything that is kept. Times are in ms since 1970, money in micro-units (millionths of the currency). */
export interface Schema {
  accounts: AccountRow
  keys: KeyRow
  requests: RequestRow
  spend: SpendRow
  adaptive_limits: AdaptiveRow
  resources: ResourceRow
}

export type Store = Kysely<Schema>

export interface AccountRow {
  id: string
  /** Null: the tier that the settings name. */
  tier: string | null
  /** For each calendar month, all keys together; null: no budget. */
  budget: number | null
  created: number
}

export interface KeyRow {
  id: string
  account: string
  /** SHA-256 of the secret, in hex. The secret itself is nowhere. */
  hash: string
  /** Of the secret before the last rotation, which is valid until `old_until`. */
  old_hash: string | null
  old_until: number | null
  /** The first characters of the secret, by which a person recognizes it. */
  prefix: string
  /** A JSON list. */
  scopes: string
  /** A JSON list; null: all models. */
  models: string | null
  budget: number | null
  note: string
  created: number
  expires: number | null
  revoked: number | null
}

/** One request: what was asked of which model and what it took. Never any content. */
export interface RequestRow {
  id: string
  /** When the request arrived. */
  time: number
  account: string
  /** Null where no key is required, and for the key of `ORIEL_ADMIN_KEY`. */
  key: string | null
  model: string
  adapter: string | null
  endpoint: string
  dialect: string
  text_tokens: number
  image_tokens: number
  audio_tokens: number
  video_tokens: number
  images: number
  /** Of the tokens of the prompt: those that were in the KV cache. */
  cached_tokens: number
  completion_tokens: number
  /** Of the tokens of the answer: those of thoughts. */
  reasoning_tokens: number
  queue_ms: number
  media_ms: number
  encode_ms: number
  prefill_ms: number
  generation_ms: number
  /** HTTP status; 499: the client left. */
  status: number
  cost: number
}

/** The costs of the requests of one key in one month. Written in the transaction that writes the requests. */
export interface SpendRow {
  account: string
  /** Empty for requests without a key. */
  key: string
  /** 202611: November 2026, in UTC. */
  month: number
  cost: number
}

/** How far the limits of an account for a model have moved from its tier. */
export interface AdaptiveRow {
  account: string
  model: string
  /** Thousandths of the limits of the tier. */
  factor: number
  changed: number
  /** When more than a third of a limit was last in use. */
  busy: number
  used: number
}

/** What other rooms keep by name, such as a deployment. */
export interface ResourceRow {
  kind: string
  account: string
  id: string
  /** Higher after each change. */
  revision: number
  /** JSON of whoever keeps it. */
  body: string
}
