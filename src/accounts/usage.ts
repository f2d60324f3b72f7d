import { type Expression, type ExpressionBuilder, sql } from 'kysely'
import { amountOf } from './prices.ts'
import type { RequestRow, Schema, Store } from './store/schema.ts'

export const usageGroups = ['account', 'key', 'model', 'adapter', 'endpoint', 'dialect', 'status'] as const
export type UsageGroup = (typeof usageGroups)[number]

export interface UsageQuery {
  /** Requests that arrived at this time or later, in ms since 1970. */
  readonly from: number
  /** And before this one. */
  readonly to: number
  readonly accounts?: readonly string[] | undefined
  readonly keys?: readonly string[] | undefined
  readonly models?: readonly string[] | undefined
  /** The length of the periods that sums are made for, aligned to UTC; default: the whole time. */
  readonly period?: 'minute' | 'hour' | 'day' | undefined
  /** One sum for each. */
  readonly by?: readonly UsageGroup[] | undefined
  /** Rows of one page, at most and by default 5000. */
  readonly limit?: number | undefined
  /** `next` of the page before. */
  readonly after?: number | undefined
  /** Who asks: what one asks at the same time is read one after the other, and others need not wait for all of it. */
  readonly reader?: string | undefined
}

/** Sums over the requests of one group in one period. */
export interface UsageRow {
  /** When the period begins, in ms since 1970; null when there is one period. */
  readonly start: number | null
  /** Null where the query does not group by it; `key` and `adapter` also for requests without one. */
  readonly account: string | null
  readonly key: string | null
  readonly model: string | null
  readonly adapter: string | null
  readonly endpoint: string | null
  readonly dialect: string | null
  readonly status: number | null
  readonly requests: number
  /** Tokens of prompts: of all kinds together, and of each. */
  readonly promptTokens: number
  readonly textTokens: number
  readonly imageTokens: number
  readonly audioTokens: number
  readonly videoTokens: number
  readonly images: number
  readonly cachedTokens: number
  readonly completionTokens: number
  readonly reasoningTokens: number
  readonly cost: number
}

export interface UsagePage {
  readonly rows: readonly UsageRow[]
  /** For the next page; undefined after the last one. */
  readonly next: number | undefined
}

const maxRows = 5000
const periods = { minute: 60_000, hour: 3_600_000, day: 86_400_000 } as const

/** Sums of the ledger, ordered by time and group. */
export async function usageOf(db: Store, query: UsageQuery): Promise<UsagePage> {
  const { from, to, period, by = [], limit = maxRows, after = 0 } = query
  const size = Math.min(limit, maxRows)
  // The period is a literal: SQLite takes parameters for floating-point numbers, whose remainder is not an integer.
  const start =
    period === undefined
      ? sql<number | null>`null`
      : sql<number>`${sql.ref('time')} - ${sql.ref('time')} % ${sql.lit(periods[period])}`
  const groups = usageGroups.filter((group) => by.includes(group))

  let select = db
    .selectFrom('requests')
    .select(start.as('start'))
    .select(groups)
    .select((row) => [
      row.fn.countAll<number>().as('requests'),
      total(row, promptTokens).as('promptTokens'),
      total(row, row.ref('text_tokens')).as('textTokens'),
      total(row, row.ref('image_tokens')).as('imageTokens'),
      total(row, row.ref('audio_tokens')).as('audioTokens'),
      total(row, row.ref('video_tokens')).as('videoTokens'),
      total(row, row.ref('images')).as('images'),
      total(row, row.ref('cached_tokens')).as('cachedTokens'),
      total(row, row.ref('completion_tokens')).as('completionTokens'),
      total(row, row.ref('reasoning_tokens')).as('reasoningTokens'),
      total(row, row.ref('cost')).as('cost'),
    ])
    .where('time', '>=', from)
    .where('time', '<', to)
    .limit(size + 1)
    .offset(after)
  for (const [column, values] of [
    ['account', query.accounts],
    ['key', query.keys],
    ['model', query.models],
  ] as const)
    if (values !== undefined) select = select.where(column, 'in', values.length === 0 ? [''] : values)
  if (period !== undefined) select = select.groupBy(start).orderBy(start)
  for (const group of groups) select = select.groupBy(group).orderBy(group)

  const found = await select.execute()
  // Without groups SQL has one row, even for no requests: its sums are null.
  const rows = found.slice(0, size).filter(({ requests }) => requests > 0)
  const none = { account: null, key: null, model: null, adapter: null, endpoint: null, dialect: null, status: null }
  return { rows: rows.map((row) => ({ ...none, ...row })), next: found.length > size ? after + size : undefined }
}

const promptTokens = sql`${sql.ref('text_tokens')} + ${sql.ref('image_tokens')} + ${sql.ref('audio_tokens')} + ${sql.ref('video_tokens')}`

const total = (row: ExpressionBuilder<Schema, 'requests'>, value: Expression<unknown>) =>
  row.cast<number>(row.fn.sum(value), 'bigint')

const columns = [
  ...(['start', ...usageGroups, 'requests', 'promptTokens', 'textTokens', 'imageTokens', 'audioTokens'] as const),
  ...(['videoTokens', 'images', 'cachedTokens', 'completionTokens', 'reasoningTokens', 'cost'] as const),
]

const names = columns.map((name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`))

/** A row of usage by the names that the columns of the CSV have, its cost as an amount of the currency. */
export const usageJson = (row: UsageRow): Record<string, string | number | null> =>
  Object.fromEntries(columns.map((column, index) => [names[index], plainValue(row, column)]))

function plainValue(row: UsageRow, column: keyof UsageRow): string | number | null {
  if (column === 'cost') return amountOf(row.cost)
  return column === 'start' && row.start !== null ? new Date(row.start).toISOString() : row[column]
}

/**
 * Usage as CSV (RFC 4180), with a header unless it continues. Costs are amounts of the currency. Texts that a spreadsheet
 * would take for formulas begin with an apostrophe.
 */
export function csvOf(rows: readonly UsageRow[], { continues = false } = {}): string {
  const cell = (value: string | number | null): string =>
    typeof value === 'string' ? quoted(value) : String(value ?? '')
  const lines = rows.map((row) => columns.map((column) => cell(plainValue(row, column))))
  if (!continues) lines.unshift(names)
  return lines.map((line) => `${line.join(',')}\r\n`).join('')
}

const quoted = (value: string): string => {
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** The row of a request, whose numbers are what the columns can hold. */
export function requestRow(row: RequestRow): RequestRow {
  const entries = Object.entries(row).map(([name, value]) => [
    name,
    typeof value === 'number' ? whole(value) : plain(value),
  ])
  return Object.fromEntries(entries) as RequestRow
}

const whole = (value: number): number => (Number.isFinite(value) ? Math.max(0, Math.round(value)) : 0)

/** PostgreSQL has no character 0. */
const plain = (value: string | null): string | null => value?.replaceAll('\0', '') ?? null
