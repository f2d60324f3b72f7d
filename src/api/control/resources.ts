import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Identity } from '../../accounts/index.ts'
import { OrielError } from '../../errors.ts'
import type { Endpoint, RouteOptions } from '../dialects/dialect.ts'
import { describeIgnored } from '../headers.ts'
import { ownerOf } from '../models/listed.ts'
import { invalidValue, parseBody, unknownParameters } from '../request/validation.ts'
import { camel, compared, valueAt } from './fields.ts'
import { matcherOf } from './filter.ts'

/** What the endpoints of Fireworks' control plane have in common. */
export const place = { tag: 'Fireworks' } as const satisfies Partial<Endpoint>

/** A part of the path of a request. */
export const paramOf = ({ params }: FastifyRequest, name: string): string =>
  (params as Record<string, string>)[name] ?? ''

/** Stands for all accounts in lists. */
const everyAccount = '-'

/**
 * The account of the path, whose resources who asks may see.
 * @throws OrielError `forbidden` for that of others
 */
export function accountIn(request: FastifyRequest): string {
  const account = paramOf(request, 'account')
  if (!mayReach(request.identity, account))
    throw new OrielError('forbidden', 'This API key is for another account.', { code: 'other_account' })
  return account
}

/** Whether who asks may see what an account has. */
export function mayReach(identity: Identity, account: string): boolean {
  const owner = ownerOf(identity)
  return owner === undefined || owner === account
}

/** Whether a list of the account in the path shows what `account` has. @throws OrielError `forbidden` */
export function listed(request: FastifyRequest): (account: string) => boolean {
  if (paramOf(request, 'account') === everyAccount) return (account) => mayReach(request.identity, account)
  const asked = accountIn(request)
  return (account) => account === asked
}

/** Entries of a page, at most and without `pageSize`. */
const [mostOnPage, usualOnPage] = [200, 50]

/** By which a list is ordered. */
const mostFields = 10

const whole = z.string().regex(/^\d{1,9}$/, { error: 'must be a whole number' })

const text = z.string().max(1000)

const listQuery = z.object({
  pageSize: whole.optional(),
  pageToken: whole.or(z.literal('')).optional(),
  filter: text.optional(),
  orderBy: text.optional(),
  readMask: text.optional(),
})

export const listParameters = [
  { name: 'pageSize', description: `Entries of a page: up to ${mostOnPage}. Default: ${usualOnPage}.` },
  { name: 'pageToken', description: 'The nextPageToken of the page before.' },
  { name: 'filter', description: 'Comparisons of fields, joined by AND: `state = READY AND minReplicaCount > 0`.' },
  { name: 'orderBy', description: 'Fields, each with ` desc` if it descends: `createTime desc, name`.' },
  { name: 'readMask', description: 'The fields of each entry, separated by commas. Default: all.' },
]

export const readMaskParameter = listParameters.filter(({ name }) => name === 'readMask')

export const listOf = <Field extends string, Entry extends z.ZodType>(field: Field, entry: Entry) =>
  z.strictObject({
    [field]: z.array(entry),
    nextPageToken: z.string().describe('Empty on the last page.'),
    totalSize: z.int(),
  } as Record<Field, z.ZodArray<Entry>> & { nextPageToken: z.ZodString; totalSize: z.ZodInt })

/**
 * The page of a list that a request asks for.
 * @param all in the usual order
 * @throws OrielError `invalid` about the query
 */
export function pageOf<Entry extends object>(request: FastifyRequest, all: readonly Entry[]) {
  const { pageSize, pageToken, filter = '', orderBy = '', readMask } = parseBody(listQuery, request.query)
  const size = Math.min(Number(pageSize) || usualOnPage, mostOnPage)
  const from = Number(pageToken ?? 0)
  const found = ordered(all.filter(matcherOf(filter)), orderBy)
  if (from > found.length) throw invalidValue('pageToken', 'pageToken is not the token of a page.')
  return {
    entries: found.slice(from, from + size).map((entry) => masked(entry, readMask)),
    nextPageToken: from + size < found.length ? String(from + size) : '',
    totalSize: found.length,
  }
}

/** The fields of a resource that a request asks for. */
export function masked<Resource extends object>(resource: Resource, mask: unknown): Resource {
  if (typeof mask !== 'string' || mask === '' || mask === '*') return resource
  const wanted = mask.split(',').map((name) => camel(name.trim()).split('.')[0])
  return Object.fromEntries(Object.entries(resource).filter(([name]) => wanted.includes(name))) as Resource
}

export const readMaskOf = ({ query }: FastifyRequest): unknown => (query as { readMask?: unknown }).readMask

/** @throws OrielError `invalid` */
function ordered<Entry extends object>(entries: Entry[], orderBy: string): Entry[] {
  if (orderBy.trim() === '') return entries
  const parts = orderBy.split(',')
  if (parts.length > mostFields)
    throw invalidValue('orderBy', `orderBy has ${parts.length} fields; at most ${mostFields} are allowed.`)
  const fields = parts.map((part) => {
    const [, path, descends] = /^\s*([\w.]+)(\s+desc)?\s*$/.exec(part) ?? []
    if (path === undefined)
      throw invalidValue('orderBy', 'orderBy has fields separated by commas, each with " desc" if it descends.')
    return { path, sign: descends === undefined ? 1 : -1 }
  })
  return entries
    .map((entry) => ({ entry, values: fields.map(({ path }) => valueAt(entry, path)) }))
    .toSorted((a, b) => {
      for (const [at, { sign }] of fields.entries()) {
        const order = compared(a.values[at], b.values[at])
        if (order !== 0) return order * sign
      }
      return 0
    })
    .map(({ entry }) => entry)
}

/** The body of a request. What is for other machines than this one has no effect, and a header names it. */
export function readWanted<Body extends z.ZodObject>(
  schema: Body,
  { body }: FastifyRequest,
  reply: FastifyReply,
  { strict }: RouteOptions,
): z.output<Body> {
  const parsed = parseBody(schema, body ?? {})
  describeIgnored(reply, unknownParameters(schema, (body ?? {}) as object, strict))
  return parsed
}

/**
 * Names of parameters that have no effect, also of those inside of one.
 * @param inside the field that has them, and its schema
 * @throws OrielError `invalid` if the server is strict
 */
export function ignoredIn(
  schema: z.ZodObject,
  inside: { readonly field: string; readonly schema: z.ZodObject },
  body: unknown,
  { strict }: RouteOptions,
): string[] {
  const given = (body ?? {}) as Record<string, object | null | undefined>
  const below = unknownParameters(inside.schema, given[inside.field] ?? {}, strict)
  return [...unknownParameters(schema, given, strict), ...below.map((name) => `${inside.field}.${name}`)]
}

/** Without what is undefined or null. */
export const given = <T extends object>(fields: { [Name in keyof T]: T[Name] | null | undefined }): Partial<T> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null)) as Partial<T>
