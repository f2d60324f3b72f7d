import { type Expression, type ExpressionBuilder, sql } from 'kysely'
import { z } from 'zod'
import { OrielError } from '../errors.ts'
import { parseJson } from '../json.ts'
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
  readonly after?: string | undefined
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
  /** For the next page; undefined after the last one. Rows that arrive meanwhile shift nothing. */
  readonly next: string | undefined
}

const maxRows = 5000
const periods = { minute: 60_000, hour: 3_600_000, day: 86_400_000 } as const

/** Periods that are read at first, and how many times as many after those that had few groups. */
const slice = { periods: 64, growth: 4 }

/**
 * Sums of the ledger, ordered by time and group. A page reads on slice by slice of time: to read many pages takes as long as
 * to read the requests a few times.
 * @throws OrielError `invalid` for an `after` that is not of this query
 */
export async function usageOf(db: Store, query: UsageQuery): Promise<UsagePage> {
  const { to, period, limit = maxRows } = query
  const size = Math.min(limit, maxRows)
  const after = query.after === undefined ? undefined : cursorOf(query.after, query)
  const length = period === undefined ? Number.POSITIVE_INFINITY : periods[period]
  const rows: UsageRow[] = []
  let from = period === undefined || after === undefined ? query.from : Math.max(query.from, Number(after[0]))
  for (let width = slice.periods; from < to && rows.length <= size; ) {
    const end = Math.min(to, period === undefined ? to : from - (from % length) + width * length)
    const found = await rowsOf(db, { ...query, from, to: end }, size + 1 - rows.length, after)
    rows.push(...found)
    if (found.length < size / slice.growth) width *= slice.growth
    from = end
  }
  const last = rows[size - 1]
  return {
    rows: rows.slice(0, size),
    next: rows.length > size && last !== undefined ? cursorText(last, query) : undefined,
  }
}

async function rowsOf(db: Store, query: UsageQuery, limit: number, after: Cursor | undefined): Promise<UsageRow[]> {
  const { from, to, period, by = [] } = query
  // The period is a literal: SQLite takes parameters for floating-point numbers, whose remainder is not an integer.
  const start =
    period === undefined
      ? sql<number | null>`null`
      : sql<number>`${sql.ref('time')} - ${sql.ref('time')} % ${sql.lit(periods[period])}`
  const groups = groupsOf(by)
  // No group is empty. Databases do not agree on where nulls are.
  const order = [
    ...(period === undefined ? [] : [start]),
    ...groups.map((group) => (group === 'status' ? sql.ref(group) : sql`coalesce(${sql.ref(group)}, '')`)),
  ]

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
    .limit(limit)
  for (const [column, values] of [
    ['account', query.accounts],
    ['key', query.keys],
    ['model', query.models],
  ] as const)
    if (values !== undefined) select = select.where(column, 'in', values.length === 0 ? [''] : values)
  if (after !== undefined && after.length > 0)
    select = select.where(sql<boolean>`(${sql.join(order)}) > (${sql.join(after.map((value) => sql.val(value)))})`)
  if (period !== undefined) select = select.groupBy(start)
  for (const group of groups) select = select.groupBy(group)
  for (const one of order) select = select.orderBy(one)

  const found = await select.execute()
  const none = { account: null, key: null, model: null, adapter: null, endpoint: null, dialect: null, status: null }
  // Without groups SQL has one row, even for no requests: its sums are null.
  return found.filter(({ requests }) => requests > 0).map((row) => ({ ...none, ...row }))
}

const groupsOf = (by: readonly UsageGroup[]): UsageGroup[] => usageGroups.filter((group) => by.includes(group))

/** What the last row of a page is ordered by. */
type Cursor = readonly (string | number)[]

const cursorText = (row: UsageRow, { period, by = [] }: UsageQuery): string => {
  const start = period === undefined ? [] : [row.start]
  const cursor = [...start, ...groupsOf(by).map((group) => row[group] ?? '')]
  return Buffer.from(JSON.stringify(cursor)).toString('base64url')
}

/** @throws OrielError `invalid` if it is not of a page of the same query */
function cursorOf(text: string, { period, by = [] }: UsageQuery): Cursor {
  const number = z.int().min(0)
  const types = groupsOf(by).map((group) => (group === 'status' ? number : z.string().regex(/^\P{Cc}*$/u)))
  const { data } = z
    .array(z.union([z.string(), z.number()]))
    .safeParse(parseJson(Buffer.from(text, 'base64url').toString()))
  const expected = period === undefined ? types : [number, ...types]
  if (data?.length === expected.length && expected.every((type, at) => type.safeParse(data[at]).success)) return data
  throw new OrielError('invalid', 'page must be the next_page of the page before, with the same parameters.', {
    param: 'page',
    code: 'invalid_value',
  })
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
