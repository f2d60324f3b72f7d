import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { micros } from '../../accounts/index.ts'
import type { AnswerServices } from '../answering/answer.ts'
import type { Endpoint, RouteOptions } from '../dialects/dialect.ts'
import { optional } from '../request/validation.ts'

/** What endpoints for whoever runs the server have in common. */
export const place = { tag: 'Administration', scope: 'admin' } as const satisfies Partial<Endpoint>

/**
 * The handler of an endpoint that manages keys and accounts. Elsewhere a server without keys lets everyone in; here they
 * could lock its owner out.
 */
export const managing =
  (act: (request: FastifyRequest, services: AnswerServices) => Promise<unknown>) =>
  ({ services }: RouteOptions) =>
  async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    services.accounts.allow(request.identity, 'admin')
    reply.header('cache-control', 'no-store')
    return act(request, services)
  }

export const paramOf = (request: FastifyRequest, name: string): string =>
  (request.params as Record<string, string>)[name] ?? ''

/** In the currency of the prices. The database has micro-units. */
export const budget = optional(
  z.number().min(0).max(1_000_000_000),
  'For each calendar month (UTC), in the currency of the prices. null: no budget.',
)

export const budgetOf = (amount: number | null | undefined): number | null | undefined =>
  typeof amount === 'number' ? micros(amount) : amount

/** Entries of a page, at most and by default. */
const [mostOnPage, usualOnPage] = [100, 20]

export const page = {
  limit: z.coerce.number().int().min(1).max(mostOnPage).default(usualOnPage),
  after: z.string().optional(),
}

export const pageQuery = [
  { name: 'limit', description: `Entries of a page, 1 to ${mostOnPage}. Default: ${usualOnPage}.` },
  { name: 'after', description: 'The page after the entry with this id.' },
]

export const listOf = <Entry extends z.ZodType>(entry: Entry) =>
  z.strictObject({
    object: z.literal('list'),
    data: z.array(entry),
    first_id: z.string().nullable(),
    last_id: z.string().nullable(),
    has_more: z.boolean(),
  })

/** @param found one more than the page has, if there is a next page */
export function pageOf<Entry extends { id: string }>(found: readonly Entry[], limit: number) {
  const data = found.slice(0, limit)
  const [first_id, last_id] = [data[0]?.id ?? null, data.at(-1)?.id ?? null]
  return { object: 'list' as const, data, first_id, last_id, has_more: found.length > limit }
}
