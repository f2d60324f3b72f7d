import { amountOf, freshMs, type Key, type Keys, ownAccount, type Scope, scopes } from '../accounts/index.ts'
import type { Config } from '../config.ts'
import { OrielError } from '../errors.ts'
import { type AccountFlags, withAccounts } from './accounts.ts'
import { dayText, momentText, moneyText, table } from './figures.ts'

interface CreateFlags extends AccountFlags {
  account?: string
  scope?: Scope[]
  admin?: boolean
  model?: string[]
  /** In ms since 1970. */
  expires?: number
  /** In micro-units. */
  budget?: number
  note?: string
}

/** Secrets begin with this, and their first characters are shown in lists. */
const secretMark = 'ork_'
const prefixLength = 10
const soon = `${freshMs / 1000} seconds`

/** `oriel keys create`: the secret is all that it writes to stdout. @throws OrielError as `withAccounts` does */
export async function createKey(flags: CreateFlags): Promise<void> {
  const { account = ownAccount, admin, scope, model, expires, budget, note } = flags
  await withAccounts(flags, async (accounts, config) => {
    const isFirst = !(await accounts.required())
    const models = model && (await idsOf(model, config))
    const { key, secret } = await accounts.keys.create({
      ...{ account, scopes: admin ? scopes : scope, models, expires, budget, note },
    })
    process.stdout.write(`${secret}\n`)
    process.stderr.write(`This key is not shown again.\n${table(rowsOf(describe(key, 0)))}`)
    if (isFirst)
      process.stderr.write(
        `It is the first one: from now on every request needs a key. A server that runs asks for it within ${soon}.\n`,
      )
  })
}

/** `oriel keys list`, the newest first. @throws OrielError as `withAccounts` does */
export async function listKeys({ account, ...flags }: AccountFlags & { account?: string }): Promise<void> {
  await withAccounts(flags, async ({ keys, spent }) => {
    const [found, costs] = await Promise.all([keys.list({ account }), spent()])
    const costOf = new Map(costs.map(({ key, cost }) => [key, cost]))
    const all = found.map((key) => describe(key, costOf.get(key.id) ?? 0))
    if (flags.json)
      return void process.stdout.write(`${JSON.stringify({ keys: all.map(({ json }) => json) }, null, 2)}\n`)
    if (all.length === 0) return void process.stdout.write('There are no keys. `oriel keys create` makes one.\n')
    const titles = ['KEY', 'ID', 'ACCOUNT', 'SCOPES', 'MODELS', 'BUDGET', 'SPENT', 'EXPIRES', 'CREATED', 'STATE']
    const rows = all.map(({ key, texts, state }) => [
      ...[key.prefix, key.id, key.account, texts.scopes, texts.models, texts.budget, texts.spent],
      ...[key.expires === null ? 'never' : dayText(key.expires), dayText(key.created), state, key.note],
    ])
    process.stdout.write(table([[...titles, 'NOTE'], ...rows]))
  })
}

/** `oriel keys show`. @throws OrielError as `revokeKey` does */
export async function showKey(given: string, flags: AccountFlags): Promise<void> {
  await withAccounts(flags, async ({ keys, spent }) => {
    const key = await find(given, keys)
    const cost = (await spent()).find((one) => one.key === key.id)?.cost ?? 0
    const described = describe(key, cost)
    process.stdout.write(flags.json ? `${JSON.stringify(described.json, null, 2)}\n` : table(rowsOf(described)))
  })
}

/** `oriel keys revoke`. @throws OrielError `not_found`; `invalid` when several keys are meant; as `withAccounts` does */
export async function revokeKey(given: string, flags: AccountFlags): Promise<void> {
  await withAccounts(flags, async ({ keys }) => {
    const { id, prefix, account } = await keys.revoke((await find(given, keys)).id)
    process.stdout.write(
      `The key ${id} (${prefix}…) of the account ${account} is revoked. A server that runs refuses it within ${soon}.\n`,
    )
  })
}

/** `oriel keys rotate`: the new secret is all that it writes to stdout. @throws OrielError as `revokeKey` does */
export async function rotateKey(
  given: string,
  { grace = 0, ...flags }: AccountFlags & { grace?: number },
): Promise<void> {
  await withAccounts(flags, async ({ keys }) => {
    const old = await find(given, keys)
    const { key, secret } = await keys.rotate(old.id, grace)
    process.stdout.write(`${secret}\n`)
    const end =
      grace > 0
        ? `works until ${momentText(Date.now() + grace)}`
        : `is no longer valid; a server that runs refuses it within ${soon}`
    process.stderr.write(`This secret of the key ${key.id} is not shown again. The old one (${old.prefix}…) ${end}.\n`)
  })
}

/** Ids of keys that are not revoked, for completion. */
export const keyIds = (): Promise<string[]> =>
  withAccounts({}, async ({ keys }) =>
    (await keys.list()).filter(({ revoked }) => revoked === null).map(({ id }) => id),
  )

/** The key that a person means by its id, the beginning of its id or secret, or the secret. */
async function find(given: string, keys: Keys): Promise<Key> {
  const isSecret = given.startsWith(secretMark)
  const begun = isSecret ? given.slice(0, prefixLength) : given
  const all = await keys.list()
  // All ids and secrets begin with the same four characters.
  const found = all.filter(
    ({ id, prefix }) => id === given || (begun.length > 4 && (isSecret ? prefix : id).startsWith(begun)),
  )
  const [key, ...others] = found
  if (key === undefined)
    throw new OrielError('not_found', `There is no key ${isSecret ? `${begun}…` : begun}.`, { code: 'key_not_found' })
  if (others.length > 0)
    throw new OrielError('invalid', `${begun} means several keys: ${found.map(({ id }) => id).join(', ')}.`)
  return key
}

/** Ids of models: requests may use other names, but keys have ids. */
async function idsOf(names: readonly string[], config: Config): Promise<string[]> {
  const { libraryIn } = await import('./settings.ts')
  const { models } = await libraryIn(config).list()
  return names.map((name) => {
    const [meant = name] = config.aliases[name] ?? []
    const model = models.find(({ id, aliases }) => [id, ...aliases].includes(meant))
    if (model !== undefined) return model.id
    const upstream = config.upstreams.find((one) => meant.startsWith(`${one.name}/`))
    const theirs = meant.slice((upstream?.name.length ?? 0) + 1)
    // Where a model here has its name, a model of an upstream keeps the whole one.
    if (upstream !== undefined) return models.some(({ id }) => id === theirs) ? meant : theirs
    process.stderr.write(`There is no model ${name} on this machine. The key may use it when there is one.\n`)
    return meant
  })
}

type State = 'active' | 'revoked' | 'expired' | 'spent'

function describe(key: Key, spent: number) {
  const { id, account, prefix, scopes, models, budget, note } = key
  const state = stateOf(key, spent)
  const time = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString())
  return {
    key,
    state,
    texts: {
      scopes: scopes.join(', '),
      models: models === null ? 'all' : models.join(', '),
      budget: budget === null ? 'none' : moneyText(budget),
      spent: moneyText(spent),
    },
    json: {
      ...{ id, account, prefix, scopes, models, note, state },
      ...{ budget: budget === null ? null : amountOf(budget), spent: amountOf(spent) },
      ...{ created: time(key.created), expires: time(key.expires), revoked: time(key.revoked) },
    },
  }
}

function stateOf({ revoked, expires, budget }: Key, spent: number): State {
  if (revoked !== null) return 'revoked'
  if (expires !== null && expires <= Date.now()) return 'expired'
  return budget !== null && spent >= budget ? 'spent' : 'active'
}

function rowsOf({ key, texts, state }: ReturnType<typeof describe>): string[][] {
  const { id, prefix, account, budget, note, created, expires, revoked } = key
  return [
    ['id', id],
    ['key', `${prefix}…`],
    ['account', account],
    ['scopes', texts.scopes],
    ['models', texts.models],
    ['budget', budget === null ? '' : `${texts.budget} each month`],
    ['spent', `${texts.spent} this month`],
    ['expires', expires === null ? 'never' : momentText(expires)],
    ['created', momentText(created)],
    ['state', revoked === null ? state : `revoked at ${momentText(revoked)}`],
    ['note', note],
  ].filter(([, text]) => text !== '')
}
