import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { type Account, type Identity, type Key, ownAccount } from '../../accounts/index.ts'
import { OrielError } from '../../errors.ts'
import { managing } from '../administration/managing.ts'
import type { AnswerServices } from '../answering/answer.ts'
import type { Endpoint, Method } from '../dialects/dialect.ts'
import { ownerOf } from '../models/listed.ts'
import { isoOf, moment } from '../request/moment.ts'
import { invalidValue, optional, parseBody } from '../request/validation.ts'
import {
  accountIn,
  listOf,
  listParameters,
  masked,
  pageOf,
  paramOf,
  place,
  readMaskOf,
  readMaskParameter,
} from './resources.ts'

const time = z.iso.datetime()
const ok = z.strictObject({ code: z.literal('OK'), message: z.string() })

/** An account as Fireworks' control plane describes it. */
export const account = z.strictObject({
  name: z.string(),
  displayName: z.string(),
  email: z.string().describe('Empty: accounts have none here.'),
  createTime: time,
  state: z.literal('READY'),
  status: ok,
  suspendState: z.literal('UNSUSPENDED'),
})

/** The one user of an account. */
export const user = z.strictObject({
  name: z.string().describe('`accounts/{account}/users/{account}`'),
  displayName: z.string(),
  email: z.string(),
  role: z.enum(['admin', 'inference-user']).describe('`admin`: one of its keys has the scope admin.'),
  createTime: time,
  state: z.literal('READY'),
  status: ok,
  serviceAccount: z.literal(true),
})

export const apiKey = z.strictObject({
  keyId: z.string(),
  displayName: z.string(),
  prefix: z.string(),
  key: z.string().optional().describe('The secret, which is shown here only.'),
  email: z.string(),
  createTime: time,
  expireTime: time.optional(),
  secure: z.literal(true).describe('Its secret is nowhere on the server.'),
})

export const accountList = listOf('accounts', account)
export const userList = listOf('users', user)
export const apiKeyList = listOf('apiKeys', apiKey)

const newKey = z.object({
  apiKey: z.object({
    displayName: optional(
      z
        .string()
        .max(500)
        .regex(/^\P{Cc}*$/u, { error: 'must have no control characters' }),
      'For people.',
    ),
    expireTime: optional(moment, 'When it stops. Default: never.'),
  }),
})
const deletedKey = z.object({ keyId: z.string() })
const nothing = z.strictObject({})

const users = { ...place, path: '/accounts/{account}/users', pattern: '/accounts/:account/users' } as const
const oneUser = {
  ...place,
  path: '/accounts/{account}/users/{user}',
  pattern: '/accounts/:account/users/:user',
} as const
const keys = {
  ...place,
  scope: 'admin',
  path: `${oneUser.path}/apiKeys`,
  pattern: `${oneUser.pattern}/apiKeys`,
} as const

/** `/accounts`, with their users and keys. */
export const accountEndpoints: readonly Endpoint[] = [
  {
    ...place,
    method: 'GET',
    path: '/accounts',
    summary: 'List the accounts that the key may see',
    query: listParameters,
    answer: accountList,
    handler:
      ({ services }) =>
      async (request): Promise<z.output<typeof accountList>> => {
        const { entries, ...page } = pageOf(request, (await accountsFor(request.identity, services)).map(shown))
        return { accounts: entries, ...page }
      },
  },
  {
    ...place,
    method: 'GET',
    path: '/accounts/{account}',
    pattern: '/accounts/:account',
    summary: 'Get an account',
    query: readMaskParameter,
    answer: account,
    handler:
      ({ services }) =>
      async (request) =>
        masked(shown(await accountOf(request, services)), readMaskOf(request)),
  },
  {
    ...users,
    method: 'GET',
    summary: 'List the users of an account: it has one, with its own name',
    query: listParameters,
    answer: userList,
    handler:
      ({ services }) =>
      async (request): Promise<z.output<typeof userList>> => {
        const { entries, ...page } = pageOf(request, [await userOf(request, services)])
        return { users: entries, ...page }
      },
  },
  {
    ...oneUser,
    method: 'GET',
    summary: 'Get the user of an account',
    query: readMaskParameter,
    answer: user,
    handler:
      ({ services }) =>
      async (request) =>
        masked(await userOf(request, services), readMaskOf(request)),
  },
  ...(
    [
      ['POST', users],
      ['PATCH', oneUser],
      ['DELETE', oneUser],
    ] as const satisfies [Method, typeof users | typeof oneUser][]
  ).map(
    ([method, where]): Endpoint => ({
      ...where,
      method,
      isHidden: true,
      summary: 'Users cannot be changed',
      answer: null,
      handler: () => async () => {
        throw new OrielError(
          'not_implemented',
          'An account has one user here, with its own name: its keys are made and removed, users are not.',
          { code: 'not_here' },
        )
      },
    }),
  ),
  {
    ...keys,
    method: 'GET',
    summary: 'List the keys of an account that are not revoked, the newest first',
    query: listParameters,
    answer: apiKeyList,
    handler: managing(async (request, { accounts }): Promise<z.output<typeof apiKeyList>> => {
      const found = await accounts.keys.list({ account: ownUser(request) })
      const valid = found.filter(({ revoked }) => revoked === null)
      const { entries, ...page } = pageOf(request, valid.map(shownKey))
      return { apiKeys: entries, ...page }
    }),
  },
  {
    ...keys,
    method: 'POST',
    summary: 'Make a key of an account, for inference and usage',
    body: newKey,
    answer: apiKey,
    handler: managing(async (request, { accounts }): Promise<z.output<typeof apiKey>> => {
      const { displayName, expireTime } = parseBody(newKey, request.body).apiKey
      if (typeof expireTime === 'number' && expireTime <= Date.now())
        throw invalidValue('apiKey.expireTime', 'apiKey.expireTime must be in the future.')
      const { key, secret } = await accounts.keys.create({
        account: ownUser(request),
        note: displayName ?? undefined,
        expires: expireTime,
      })
      return { ...shownKey(key), key: secret }
    }),
  },
  {
    ...keys,
    path: `${keys.path}:delete`,
    pattern: `${keys.pattern}::delete`,
    method: 'POST',
    summary: 'Revoke a key',
    body: deletedKey,
    answer: nothing,
    handler: managing(async (request, { accounts }): Promise<z.output<typeof nothing>> => {
      const { keyId } = parseBody(deletedKey, request.body)
      const { account } = await accounts.keys.show(keyId)
      if (account !== ownUser(request))
        throw new OrielError('not_found', 'This account has no such key.', { param: 'keyId', code: 'key_not_found' })
      await accounts.keys.revoke(keyId)
      return {}
    }),
  },
]

/** Requests without a key belong to an account that is in no list of keys. */
const local: Account = { id: ownAccount, tier: null, budget: null, created: 0 }

async function accountsFor(identity: Identity, { accounts }: AnswerServices): Promise<Account[]> {
  const known = await accounts.keys.accounts()
  const all = known.some(({ id }) => id === ownAccount) ? known : [local, ...known]
  const owner = ownerOf(identity)
  return all.filter(({ id }) => owner === undefined || id === owner)
}

/** @throws OrielError `not_found`; `forbidden` */
async function accountOf(request: FastifyRequest, services: AnswerServices): Promise<Account> {
  const id = accountIn(request)
  const found = (await accountsFor(request.identity, services)).find((one) => one.id === id)
  if (found === undefined)
    throw new OrielError('not_found', 'There is no account of this name.', { code: 'account_not_found' })
  return found
}

const status = { code: 'OK', message: '' } as const

const shown = ({ id, created }: Account): z.output<typeof account> => ({
  name: `accounts/${id}`,
  displayName: id,
  email: '',
  createTime: isoOf(created),
  state: 'READY',
  status,
  suspendState: 'UNSUSPENDED',
})

async function userOf(request: FastifyRequest, services: AnswerServices): Promise<z.output<typeof user>> {
  const { id, created } = await accountOf(request, services)
  ownUser(request)
  const keys = await services.accounts.keys.list({ account: id })
  const isAdmin = keys.some(({ scopes, revoked }) => revoked === null && scopes.includes('admin'))
  return {
    name: `accounts/${id}/users/${id}`,
    displayName: id,
    email: '',
    role: isAdmin ? 'admin' : 'inference-user',
    createTime: isoOf(created),
    state: 'READY',
    status,
    serviceAccount: true,
  }
}

/** The account whose user the path names. @throws OrielError `not_found` for another user; `forbidden` */
function ownUser(request: FastifyRequest): string {
  const [id, user] = [accountIn(request), paramOf(request, 'user')]
  if (user !== '' && user !== id)
    throw new OrielError('not_found', `An account has one user here, with its own name: ${id}.`, {
      code: 'user_not_found',
    })
  return id
}

const shownKey = ({ id, note, prefix, created, expires }: Key): z.output<typeof apiKey> => ({
  keyId: id,
  displayName: note,
  prefix,
  email: '',
  createTime: isoOf(created),
  ...(expires !== null && { expireTime: isoOf(expires) }),
  secure: true,
})
