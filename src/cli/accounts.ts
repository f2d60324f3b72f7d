import { type Accounts, amountOf, createAccounts } from '../accounts/index.ts'
import type { Config } from '../config.ts'
import { OrielError } from '../errors.ts'
import { configOf } from '../load-config.ts'
import { createLogger } from '../log.ts'
import { confirmed } from './confirmed.ts'
import { countedText, dayText, momentText, moneyText, table } from './figures.ts'

/** Flags that all commands for keys, accounts and usage have. */
export interface AccountFlags {
  config?: string
  json?: boolean
}

/**
 * Opens the database of the settings for one command.
 * @throws OrielError with one sentence for the person, also about a database that fails
 */
export async function withAccounts<T>(
  { config: file }: AccountFlags,
  act: (accounts: Accounts, config: Config) => Promise<T>,
): Promise<T> {
  // A command lets no request in: it needs no limits.
  const config = configOf({ file, accounts: { redisUrl: null } })
  const accounts = await createAccounts(config, createLogger('silent'))
  try {
    return await act(accounts, config)
  } catch (error) {
    if (!(error instanceof OrielError && error.code === 'accounts_unavailable')) throw error
    const reason = error.cause instanceof Error ? error.cause.message : String(error.cause)
    throw new OrielError('invalid', `The database of keys and usage fails: ${reason}.`, { cause: error })
  } finally {
    await accounts.close()
  }
}

/** The names of accounts, for completion. */
export const accountNames = (): Promise<string[]> =>
  withAccounts({}, async ({ keys }) => (await keys.accounts()).map(({ id }) => id))

/** `oriel accounts list`. @throws OrielError as `withAccounts` does */
export async function listAccounts(flags: AccountFlags): Promise<void> {
  await withAccounts(flags, async ({ keys, spent }, { accounts: settings }) => {
    const [all, allKeys, costs] = await Promise.all([keys.accounts(), keys.list(), spent()])
    const rows = all.map((account) => ({
      ...account,
      keys: allKeys.filter((key) => key.account === account.id && key.revoked === null).length,
      spent: costs.filter((one) => one.account === account.id).reduce((sum, { cost }) => sum + cost, 0),
    }))
    if (flags.json) {
      const accounts = rows.map(({ id, tier, budget, spent, keys, created }) => ({
        ...{ id, tier, budget: budget === null ? null : amountOf(budget), spent: amountOf(spent), keys },
        created: new Date(created).toISOString(),
      }))
      return void process.stdout.write(`${JSON.stringify({ accounts }, null, 2)}\n`)
    }
    if (rows.length === 0) return void process.stdout.write('There are no accounts. `oriel keys create` makes one.\n')
    const cells = rows.map(({ id, tier, budget, spent, keys, created }) => [
      id,
      tier ?? (settings.tier === null ? 'none' : `${settings.tier} (default)`),
      String(keys),
      budget === null ? 'none' : moneyText(budget),
      moneyText(spent),
      dayText(created),
    ])
    process.stdout.write(table([['ACCOUNT', 'TIER', 'KEYS', 'BUDGET', 'SPENT', 'CREATED'], ...cells]))
  })
}

interface SetFlags extends AccountFlags {
  tier?: string | 'none'
  /** In micro-units. */
  budget?: number | 'none'
}

/** `oriel accounts set`. @throws OrielError `invalid` about the name or the tier; as `withAccounts` does */
export async function setAccount(name: string, { tier, budget, ...flags }: SetFlags): Promise<void> {
  if (tier === undefined && budget === undefined)
    throw new OrielError('invalid', 'There is nothing to set: use --tier or --budget.')
  await withAccounts(flags, async ({ keys }, { accounts: settings }) => {
    const isNew = !(await keys.accounts()).some(({ id }) => id === name)
    const account = await keys.setAccount(name, {
      ...(tier !== undefined && { tier: tier === 'none' ? null : tier }),
      ...(budget !== undefined && { budget: budget === 'none' ? null : budget }),
    })
    const tierText =
      account.tier ?? (settings.tier === null ? 'none: no limits' : `${settings.tier}, which is the default`)
    const budgetText = account.budget === null ? 'none' : `${moneyText(account.budget)} each month`
    process.stdout.write(`The account ${account.id} ${isNew ? 'was made' : 'was changed'}.\n`)
    process.stdout.write(
      table([
        ['tier', tierText],
        ['budget', budgetText],
      ]),
    )
  })
}

/** `oriel purge`: removes old usage after a confirmation. @throws OrielError as `withAccounts` does */
export async function purge(before: number, { yes, ...flags }: AccountFlags & { yes?: boolean }): Promise<void> {
  await withAccounts(flags, async (accounts) => {
    const { rows } = await accounts.usage({ from: 0, to: before })
    const requests = countedText(rows[0]?.requests ?? 0, 'request')
    const question = `Remove the usage of ${requests} before ${momentText(before)}? [y/N] `
    if (!yes && !(await confirmed(question))) return
    const removed = await accounts.purge(before)
    process.stdout.write(`The usage of ${countedText(removed, 'request')} was removed.\n`)
  })
}

/** `oriel erase`: removes an account after a confirmation. @throws OrielError `not_found`; as `withAccounts` does */
export async function erase(name: string, { yes, ...flags }: AccountFlags & { yes?: boolean }): Promise<void> {
  await withAccounts(flags, async (accounts) => {
    const keys = await accounts.keys.list({ account: name })
    const { rows } = await accounts.usage({ from: 0, to: Number.MAX_SAFE_INTEGER, accounts: [name] })
    const requests = rows[0]?.requests ?? 0
    // The account of requests without a key has usage only.
    const isKnown = requests > 0 || (await accounts.keys.accounts()).some(({ id }) => id === name)
    if (!isKnown) throw new OrielError('not_found', `There is no account ${name}.`, { code: 'account_not_found' })
    const counted = `${countedText(keys.length, 'key')}, the usage of ${countedText(requests, 'request')}`
    const parts = `${counted}, its limits, deployments, datasets and fine-tuning jobs`
    if (!yes && !(await confirmed(`Erase the account ${name} with ${parts}? [y/N] `))) return
    const erased = await accounts.erase(name)
    process.stdout.write(
      `The account ${name} was erased, with ${countedText(erased.keys, 'key')} and the usage of ${countedText(erased.requests, 'request')}.\n`,
    )
    if (erased.keys > 0 && !(await accounts.required()))
      process.stderr.write('No key is left: a server that is started from now on needs none.\n')
  })
}
