import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import {
  type Accounts,
  csvOf,
  type UsageGroup,
  type UsagePage,
  type UsageQuery,
  usageGroups,
  usageJson,
} from '../../accounts/index.ts'
import { clientOf } from '../client.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { moment } from '../request/moment.ts'
import { invalidValue, parseStrictly } from '../request/validation.ts'
import { between, list, names, timeQuery, withoutBrackets } from './query.ts'

const count = z.int()
const group = z.string().nullable()

/** Sums over the requests of one group. */
export const usageSum = z.strictObject({
  start: z.iso.datetime().nullable().describe('When the minute, hour or day begins, if usage is grouped by it.'),
  account: group,
  key: group.describe('null for requests without a key, too.'),
  model: group,
  adapter: group,
  endpoint: group,
  dialect: group,
  status: z.int().nullable(),
  requests: count,
  prompt_tokens: count.describe('Of all kinds.'),
  text_tokens: count,
  image_tokens: count,
  audio_tokens: count,
  video_tokens: count,
  images: count,
  cached_tokens: count.describe('Prompt tokens that were in the cache.'),
  completion_tokens: count,
  reasoning_tokens: count,
  cost: z.number().describe('In the currency of the prices.'),
})

export const usagePage = z.strictObject({
  object: z.literal('list'),
  data: z.array(usageSum),
  has_more: z.boolean(),
  next_page: z.string().nullable().describe('`page` of the request for the next page.'),
})

const periods = ['minute', 'hour', 'day'] as const

/** Rows of a page, at most and by default. To read and write them blocks the event loop for a few ms. */
const mostRows = 1000

const ownQuery = z.object({
  start_time: moment.optional(),
  end_time: moment.optional(),
  group_by: list(z.enum([...periods, ...usageGroups])),
  key: names,
  model: names,
  limit: z.coerce.number().int().min(1).max(mostRows).default(mostRows),
  page: z.string().optional(),
  format: z.enum(['json', 'csv']).optional(),
})

const allQuery = z.object({ ...ownQuery.shape, account: names })

const parameters = [
  ...timeQuery('Default: the first of this month (UTC).'),
  {
    name: 'group_by',
    description: `One sum for each: ${[...periods, ...usageGroups].map((name) => `\`${name}\``).join(', ')}, several separated by commas.`,
  },
  { name: 'key', description: 'Only requests with the key of this id; several are separated by commas.' },
  { name: 'model', description: 'Only requests for the model of this id; several are separated by commas.' },
  { name: 'limit', description: `Sums of a page, 1 to ${mostRows}, which is the default.` },
  { name: 'page', description: 'The `next_page` of the page before.' },
  { name: 'format', description: '`csv` gives all sums as CSV, as the header `Accept: text/csv` does.' },
]

const answer = { method: 'GET', tag: 'Usage', scope: 'usage', answer: usagePage, otherType: 'text/csv' } as const

/** `GET /v1/usage`: whatever is asked, the usage of the account of the key. */
export const ownUsageEndpoint: Endpoint = {
  ...answer,
  path: '/usage',
  summary: 'Sum the usage of your own account',
  query: parameters,
  handler:
    ({ services: { accounts } }) =>
    (request, reply) =>
      answerWith(accounts, { request, reply }, parseStrictly(ownQuery, withoutBrackets(request.query)), {
        accounts: [request.identity.account],
      }),
}

/** `GET /admin/usage`. */
export const allUsageEndpoint: Endpoint = {
  ...answer,
  scope: 'admin',
  path: '/admin/usage',
  summary: 'Sum the usage of all accounts',
  query: [
    ...parameters,
    { name: 'account', description: 'Only requests of this account; several are separated by commas.' },
  ],
  handler:
    ({ services: { accounts } }) =>
    (request, reply) => {
      const { account, ...query } = parseStrictly(allQuery, withoutBrackets(request.query))
      return answerWith(accounts, { request, reply }, query, { accounts: account })
    },
}

async function answerWith(
  accounts: Accounts,
  { request, reply }: { request: FastifyRequest; reply: FastifyReply },
  asked: z.output<typeof ownQuery>,
  whose: Pick<UsageQuery, 'accounts'>,
): Promise<object> {
  const { start_time = startOfMonth(), end_time, group_by, key, model, limit, page, format } = asked
  const [period, ...others] = periods.filter((one) => group_by.includes(one))
  if (others.length > 0) throw invalidValue('group_by', 'group_by must have only one of minute, hour and day.')
  const by = group_by.filter((one): one is UsageGroup => usageGroups.some((group) => group === one))
  const query = {
    ...between(start_time, end_time),
    ...whose,
    reader: clientOf(request),
    keys: key,
    models: model,
    period,
    by,
  }
  if (format === 'csv' || (format === undefined && request.headers.accept?.startsWith('text/csv'))) {
    // The first page before the status line: until then an error has its own status.
    const pages = csvPages(accounts, query)
    const first = await pages.next()
    reply.type('text/csv; charset=utf-8').header('content-disposition', 'attachment; filename="usage.csv"')
    return reply.send(Readable.from(startingWith(first.value ?? '', pages)))
  }
  const { rows, next } = await accounts.usage({ ...query, limit, after: page })
  return { object: 'list', data: rows.map(usageJson), has_more: next !== undefined, next_page: next ?? null }
}

/** Page by page: however much it is, neither memory nor the event loop has it at once. */
async function* csvPages(accounts: Accounts, query: UsageQuery): AsyncGenerator<string, undefined> {
  let after: string | undefined
  do {
    const { rows, next }: UsagePage = await accounts.usage({ ...query, limit: mostRows, after })
    yield csvOf(rows, { continues: after !== undefined })
    after = next
  } while (after !== undefined)
}

async function* startingWith(first: string, others: AsyncIterable<string>): AsyncIterable<string> {
  yield first
  yield* others
}

function startOfMonth(): number {
  const now = new Date()
  return Date.UTC(now.getUTCFullYear(), now.getUTCMonth())
}
