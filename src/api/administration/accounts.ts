import { z } from 'zod'
import { type Account, amountOf } from '../../accounts/index.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { isoOf } from '../request/moment.ts'
import { optional, parseStrictly } from '../request/validation.ts'
import { budget, budgetOf, listOf, managing, page, pageOf, pageQuery, paramOf, place } from './managing.ts'

export const account = z.strictObject({
  id: z.string(),
  object: z.literal('account'),
  tier: z.string().nullable().describe('null: the tier that the settings name.'),
  budget: z
    .number()
    .nullable()
    .describe('For each calendar month (UTC), in the currency of the prices, all keys together.'),
  created: z.iso.datetime(),
})

export const erasedAccount = z.strictObject({
  id: z.string(),
  object: z.literal('account'),
  deleted: z.literal(true),
  keys: z.int().describe('How many it had.'),
  requests: z.int().describe('Whose usage was removed.'),
})

const change = z.object({ tier: optional(z.string(), 'null: the tier that the settings name.'), budget })

const one = { ...place, path: '/admin/accounts/{account}', pattern: '/admin/accounts/:account' }

/** `/admin/accounts`. */
export const accountEndpoints: readonly Endpoint[] = [
  {
    ...place,
    method: 'GET',
    path: '/admin/accounts',
    summary: 'List accounts by name',
    query: pageQuery,
    answer: listOf(account),
    handler: managing(async ({ query }, { accounts }) => {
      const { limit, after } = parseStrictly(z.object(page), query)
      return pageOf((await accounts.keys.accounts({ after, limit: limit + 1 })).map(shown), limit)
    }),
  },
  {
    ...one,
    method: 'PATCH',
    summary: 'Change what the body names of an account, which is made if it does not exist',
    body: change,
    answer: account,
    handler: managing(async (request, { accounts }) => {
      const { tier, ...given } = parseStrictly(change, request.body)
      const budget = budgetOf(given.budget)
      const changed = await accounts.keys.setAccount(paramOf(request, 'account'), {
        ...(tier !== undefined && { tier }),
        ...(budget !== undefined && { budget }),
      })
      return shown(changed)
    }),
  },
  {
    ...one,
    method: 'DELETE',
    summary: 'Erase an account: its keys, usage and limits, its deployments, datasets and fine-tuning jobs',
    answer: erasedAccount,
    handler: managing(async (request, { accounts }): Promise<z.output<typeof erasedAccount>> => {
      const id = paramOf(request, 'account')
      return { id, object: 'account', deleted: true, ...(await accounts.erase(id)) }
    }),
  },
]

const shown = ({ id, tier, budget, created }: Account): z.output<typeof account> => ({
  ...{ id, object: 'account', tier },
  budget: budget === null ? null : amountOf(budget),
  created: isoOf(created),
})
