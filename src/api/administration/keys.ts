import { z } from 'zod'
import { amountOf, type Key, scopes } from '../../accounts/index.ts'
import type { Deployments } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { isoOf, moment } from '../request/moment.ts'
import { invalidValue, optional, parseStrictly } from '../request/validation.ts'
import { budget, budgetOf, listOf, managing, page, pageOf, pageQuery, paramOf, place } from './managing.ts'

const time = z.iso.datetime()

/** A key without its secret. */
export const key = z.strictObject({
  id: z.string(),
  object: z.literal('key'),
  account: z.string(),
  prefix: z.string().describe('The first characters of its secret.'),
  scopes: z.array(z.enum(scopes)),
  models: z.array(z.string()).nullable().describe('Ids of the models that it may use. null: all.'),
  budget: z.number().nullable().describe('For each calendar month (UTC), in the currency of the prices.'),
  note: z.string(),
  created: time,
  expires: time.nullable(),
  revoked: time.nullable(),
})

export const keyWithSecret = z.strictObject({
  ...key.shape,
  secret: z.string().describe('What clients send. It is shown here only.'),
})

const newKey = z.object({
  account: z.string().describe('Made if it does not exist.'),
  scopes: optional(z.array(z.enum(scopes)).min(1), 'Default: `inference` and `usage`.'),
  models: optional(z.array(z.string().min(1).max(200)).max(100), 'The models that it may use. Default: all.'),
  budget,
  note: optional(
    z
      .string()
      .max(500)
      .regex(/^\P{Cc}*$/u, { error: 'must have no control characters' }),
    'For people.',
  ),
  expires: optional(moment, 'When it stops: ISO 8601, or seconds since 1970. Default: never.'),
})

const rotation = z.object({
  grace_seconds: optional(z.int().min(0).max(2_592_000), 'How long the old secret stays valid. Default: not at all.'),
})

const keysQuery = z.object({ account: z.string().optional(), ...page })

const one = { ...place, path: '/admin/keys/{key}', pattern: '/admin/keys/:key' }

/** `/admin/keys`. */
export const keyEndpoints: readonly Endpoint[] = [
  {
    ...place,
    method: 'GET',
    path: '/admin/keys',
    summary: 'List keys, the newest first',
    query: [{ name: 'account', description: 'Only keys of this account.' }, ...pageQuery],
    answer: listOf(key),
    handler: managing(async ({ query }, { accounts }) => {
      const { limit, ...which } = parseStrictly(keysQuery, query)
      return pageOf((await accounts.keys.list({ ...which, limit: limit + 1 })).map(shown), limit)
    }),
  },
  {
    ...place,
    method: 'POST',
    path: '/admin/keys',
    summary: 'Make a key',
    body: newKey,
    answer: keyWithSecret,
    handler: managing(async ({ body }, { accounts, deployments }) => {
      const given = parseStrictly(newKey, body)
      if (typeof given.expires === 'number' && given.expires <= Date.now())
        throw invalidValue('expires', 'expires must be in the future.')
      const made = await accounts.keys.create({
        account: given.account,
        scopes: given.scopes ?? undefined,
        models: given.models && (await idsOf(given.models, deployments)),
        budget: budgetOf(given.budget),
        note: given.note ?? undefined,
        expires: given.expires,
      })
      return withSecret(made)
    }),
  },
  {
    ...one,
    method: 'GET',
    summary: 'Get a key',
    answer: key,
    handler: managing(async (request, { accounts }) => shown(await accounts.keys.show(paramOf(request, 'key')))),
  },
  {
    ...one,
    method: 'DELETE',
    summary: 'Revoke a key: it stops, and stays in the list',
    answer: key,
    handler: managing(async (request, { accounts }) => shown(await accounts.keys.revoke(paramOf(request, 'key')))),
  },
  {
    ...one,
    path: `${one.path}/rotate`,
    pattern: `${one.pattern}/rotate`,
    method: 'POST',
    summary: 'Give a key a new secret',
    body: rotation,
    answer: keyWithSecret,
    handler: managing(async (request, { accounts }) => {
      const { grace_seconds: grace } = parseStrictly(rotation, request.body)
      return withSecret(await accounts.keys.rotate(paramOf(request, 'key'), (grace ?? 0) * 1000))
    }),
  },
]

function shown({
  id,
  account,
  prefix,
  scopes,
  models,
  budget,
  note,
  created,
  expires,
  revoked,
}: Key): z.output<typeof key> {
  return {
    ...{ id, object: 'key', account, prefix },
    scopes: [...scopes],
    models: models && [...models],
    budget: budget === null ? null : amountOf(budget),
    note,
    created: isoOf(created),
    expires: expires === null ? null : isoOf(expires),
    revoked: revoked === null ? null : isoOf(revoked),
  }
}

const withSecret = ({ key, secret }: { key: Key; secret: string }): z.output<typeof keyWithSecret> => ({
  ...shown(key),
  secret,
})

/** Requests may name a model in several ways; a key has its id. @throws OrielError `not_found` */
async function idsOf(names: readonly string[], deployments: Deployments): Promise<string[]> {
  const ids = new Set<string>()
  for (const [index, name] of names.entries())
    try {
      const { id, adapter } = await deployments.lookUp(name)
      if (adapter !== undefined)
        throw invalidValue(
          `models[${index}]`,
          `models[${index}] is an adapter; a key is for models, with their adapters.`,
        )
      ids.add(id)
    } catch (error) {
      if (!(error instanceof OrielError) || error.kind !== 'not_found') throw error
      throw invalidValue(`models[${index}]`, `models[${index}] is no model of this server.`)
    }
  return [...ids]
}
