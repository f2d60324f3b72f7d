import { z } from 'zod'
import { type Accounts, amountOf, type UsageGroup, type UsageQuery, type UsageRow } from '../../accounts/index.ts'
import { clientOf } from '../client.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { describeIgnored } from '../headers.ts'
import { moment } from '../request/moment.ts'
import { invalidValue, parseBody, unknownParameters } from '../request/validation.ts'
import { between, list, names, timeQuery, withoutBrackets } from './query.ts'

/**
 * Usage and costs as OpenAI's dashboards read them, in buckets of time. A project is an account; there are no users, no
 * batches and one service tier.
 */

const count = z.int()

const completionsUsage = z.strictObject({
  object: z.literal('organization.usage.completions.result'),
  input_tokens: count.describe('Cached ones and those of images included.'),
  output_tokens: count,
  input_cached_tokens: count,
  input_uncached_tokens: count,
  input_audio_tokens: count,
  output_audio_tokens: count,
  num_model_requests: count,
  project_id: z.string().nullable().describe('The account, if usage is grouped by it.'),
  user_id: z.null(),
  api_key_id: z.string().nullable(),
  model: z.string().nullable(),
  batch: z.literal(false).nullable(),
  service_tier: z.literal('default').nullable(),
})

const costs = z.strictObject({
  object: z.literal('organization.costs.result'),
  amount: z.strictObject({
    value: z.number(),
    currency: z.literal('xxx').describe('"No currency" in ISO 4217: prices may be in any.'),
  }),
  line_item: z.string().nullable().describe('The model, if costs are grouped by it.'),
  project_id: z.string().nullable().describe('The account, if costs are grouped by it.'),
  api_key_id: z.string().nullable(),
})

const bucketsOf = <Result extends z.ZodType>(result: Result) =>
  z.strictObject({
    object: z.literal('page'),
    data: z.array(
      z.strictObject({
        object: z.literal('bucket'),
        start_time: z.int().describe('Seconds since 1970.'),
        end_time: z.int(),
        results: z.array(result),
      }),
    ),
    has_more: z.boolean(),
    next_page: z.string().nullable(),
  })

export const completionsUsagePage = bucketsOf(completionsUsage)
export const costsPage = bucketsOf(costs)

/** Buckets of a page by their width, by default and at most. */
const widths = {
  '1m': { period: 'minute', ms: 60_000, usual: 60, most: 1440 },
  '1h': { period: 'hour', ms: 3_600_000, usual: 24, most: 168 },
  '1d': { period: 'day', ms: 86_400_000, usual: 7, most: 31 },
} as const

const days = { ...widths['1d'], most: 180 }

type Width = (typeof widths)[keyof typeof widths] | typeof days

/** Results of a page, at most: a page may end within a bucket, which the next one goes on with. */
const mostResults = 2000

const common = {
  start_time: moment,
  end_time: moment.optional(),
  project_ids: names,
  api_key_ids: names,
  limit: z.coerce.number().int().min(1).optional(),
  page: z.string().optional(),
}

const usageGroupOf = {
  ...{ project_id: 'account', api_key_id: 'key', model: 'model' },
  ...{ user_id: null, batch: null, service_tier: null },
} as const satisfies Record<string, UsageGroup | null>

const usageQuery = z.object({
  ...common,
  bucket_width: z.enum(['1m', '1h', '1d']).default('1d'),
  group_by: list(z.enum(['project_id', 'user_id', 'api_key_id', 'model', 'batch', 'service_tier'])),
  user_ids: names,
  models: names,
  batch: z.enum(['true', 'false']).optional(),
})

const costGroupOf = { project_id: 'account', api_key_id: 'key', line_item: 'model' } as const

const costsQuery = z.object({
  ...common,
  bucket_width: z.enum(['1d']).default('1d'),
  group_by: list(z.enum(['project_id', 'line_item', 'api_key_id'])),
})

const parameters = (groups: readonly string[], limits: string) => [
  ...timeQuery('It must be given.'),
  { name: 'group_by', description: `One result for each: ${groups.map((name) => `\`${name}\``).join(', ')}.` },
  { name: 'project_ids', description: 'Only these accounts.' },
  { name: 'api_key_ids', description: 'Only keys with these ids.' },
  { name: 'limit', description: `Buckets of a page. ${limits}` },
  { name: 'page', description: 'The `next_page` of the page before.' },
]

const answer = { method: 'GET', tag: 'Usage', scope: 'admin' } as const

/** `GET /v1/organization/usage/completions`. */
export const completionsUsageEndpoint: Endpoint = {
  ...answer,
  path: '/organization/usage/completions',
  summary: 'Sum the usage of all accounts in buckets of time, as OpenAI does',
  query: [
    ...parameters(
      Object.keys(usageGroupOf),
      'Default and maximum: 7 and 31 days, 24 and 168 hours, or 60 and 1440 minutes.',
    ),
    { name: 'bucket_width', description: '`1m`, `1h` or `1d`, which is the default.' },
    { name: 'models', description: 'Only models with these ids.' },
    { name: 'batch', description: '`true` finds nothing: there are no batches.' },
  ],
  answer: completionsUsagePage,
  handler:
    ({ services: { accounts }, strict }) =>
    async (request, reply): Promise<z.output<typeof completionsUsagePage>> => {
      const given = withoutBrackets(request.query)
      const asked = parseBody(usageQuery, given)
      describeIgnored(reply, unknownParameters(usageQuery, given, strict))
      if (asked.user_ids !== undefined)
        throw invalidValue(
          'user_ids',
          'user_ids cannot be used: this server has no users. Its accounts are project_ids.',
        )
      const { group_by: groups, models } = asked
      const by = groups.flatMap((name) => usageGroupOf[name] ?? [])
      const which = asked.batch === 'true' ? { models: [] } : { models }
      return pageOf(
        accounts,
        { ...asked, reader: clientOf(request), width: widths[asked.bucket_width], by, ...which },
        (row) => ({
          object: 'organization.usage.completions.result',
          input_tokens: row.promptTokens,
          output_tokens: row.completionTokens,
          input_cached_tokens: row.cachedTokens,
          input_uncached_tokens: row.promptTokens - row.cachedTokens,
          input_audio_tokens: row.audioTokens,
          output_audio_tokens: 0,
          num_model_requests: row.requests,
          project_id: row.account,
          user_id: null,
          api_key_id: row.key,
          model: row.model,
          batch: groups.includes('batch') ? false : null,
          service_tier: groups.includes('service_tier') ? 'default' : null,
        }),
      )
    },
}

/** `GET /v1/organization/costs`. */
export const costsEndpoint: Endpoint = {
  ...answer,
  path: '/organization/costs',
  summary: 'Sum the costs of all accounts by day, as OpenAI does',
  query: [
    ...parameters(Object.keys(costGroupOf), 'Default: 7. Maximum: 180.'),
    { name: 'bucket_width', description: '`1d`.' },
  ],
  answer: costsPage,
  handler:
    ({ services: { accounts }, strict }) =>
    async (request, reply): Promise<z.output<typeof costsPage>> => {
      const given = withoutBrackets(request.query)
      const asked = parseBody(costsQuery, given)
      describeIgnored(reply, unknownParameters(costsQuery, given, strict))
      const by = asked.group_by.map((name) => costGroupOf[name])
      return pageOf(accounts, { ...asked, reader: clientOf(request), width: days, by }, (row) => ({
        object: 'organization.costs.result',
        amount: { value: amountOf(row.cost), currency: 'xxx' },
        line_item: row.model,
        project_id: row.account,
        api_key_id: row.key,
      }))
    },
}

interface Asked extends Pick<UsageQuery, 'by' | 'models' | 'reader'> {
  readonly start_time: number
  readonly end_time?: number | undefined
  readonly project_ids?: string[] | undefined
  readonly api_key_ids?: string[] | undefined
  readonly limit?: number | undefined
  readonly page?: string | undefined
  readonly width: Width
}

/** One page of buckets, which begin at whole minutes, hours or days (UTC). Those without a request are empty. */
async function pageOf<Result>(accounts: Accounts, asked: Asked, resultOf: (row: UsageRow) => Result) {
  const { period, ms, usual, most } = asked.width
  const { limit = usual, by, models, reader, project_ids, api_key_ids } = asked
  if (limit > most) throw invalidValue('limit', `limit must be at most ${most} for this bucket_width; found ${limit}.`)
  const { from, to } = between(asked.start_time, asked.end_time)
  const first = asked.page === undefined ? { start: from - (from % ms), after: undefined } : placeOf(asked.page, ms)
  const end = Math.min(first.start + limit * ms, Math.ceil(to / ms) * ms)
  const { rows, next } = await accounts.usage({
    ...{ accounts: project_ids, keys: api_key_ids, models, period, by, reader },
    ...{ from: Math.max(from, first.start), to: Math.min(to, end), limit: mostResults, after: first.after },
  })
  const results = new Map<number, Result[]>()
  for (const row of rows) {
    const start = Number(row.start)
    const bucket = results.get(start)
    if (bucket === undefined) results.set(start, [resultOf(row)])
    else bucket.push(resultOf(row))
  }
  const last = next === undefined ? undefined : Number(rows.at(-1)?.start)
  const data = []
  for (let start = first.start; start < end && start <= (last ?? end); start += ms)
    data.push({
      object: 'bucket' as const,
      start_time: start / 1000,
      end_time: (start + ms) / 1000,
      results: results.get(start) ?? [],
    })
  const following = last ?? end
  const next_page = following < to ? `page_${following / 1000}${next === undefined ? '' : `_${next}`}` : null
  return { object: 'page' as const, data, has_more: next_page !== null, next_page }
}

/** Where a page begins: the time of its first bucket, and what the page before had of it. */
function placeOf(page: string, ms: number): { start: number; after: string | undefined } {
  const [, seconds, after] = /^page_(\d{1,12})(?:_([\w-]+))?$/.exec(page) ?? []
  const start = Number(seconds) * 1000
  if (seconds === undefined || start % ms !== 0)
    throw invalidValue('page', 'page must be the next_page of the page before, with the same parameters.')
  return { start, after }
}
