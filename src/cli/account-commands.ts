import { type Command, Option } from 'commander'
import type { Scope } from '../accounts/index.ts'
import { amount, duration, earlier, later, listed, orNone, someOf, wholeNumber } from './values.ts'

const config = new Option('--config <file>', 'a JSON or TOML file of settings')
const json = new Option('--json', 'print JSON')
const yes = new Option('--yes', 'do not ask for confirmation')
const scopes: readonly Scope[] = ['inference', 'usage', 'metrics', 'admin']
const days = wholeNumber(1, 3660, 'It must be a whole number of days, from 1 to 3660.')

/** The commands for keys, accounts and usage, which work on the database of the settings, with or without a server. */
export function addAccountCommands(program: Command): void {
  const keys = program.command('keys').description('make, list, revoke and rotate API keys').helpCommand(false)

  keys
    .command('create')
    .description('make an API key and print it; with the first one, requests begin to need a key')
    .option('--account <name>', 'who the requests belong to; made if it does not exist (default local)')
    .addOption(
      new Option('--scope <scope...>', 'what it may be used for (default inference,usage)')
        .choices(scopes)
        .argParser(someOf(scopes)),
    )
    .addOption(new Option('--admin', 'it may be used for everything').conflicts('scope'))
    .option('--model <name...>', 'the only models that it may use', listed)
    .option('--expires <when>', 'a duration like 30d, or a day like 2027-01-31 at whose beginning (UTC) it ends', later)
    .option('--budget <amount>', 'what it may spend in a calendar month (UTC), in the currency of the prices', amount)
    .option('--note <text>', 'what it is for')
    .addOption(config)
    .addHelpText('after', createHelp)
    .action(async (options) => (await import('./keys.ts')).createKey(options))

  keys
    .command('list')
    .alias('ls')
    .description('list API keys, and what each has spent this month')
    .option('--account <name>', 'only those of this account')
    .addOption(config)
    .addOption(json)
    .action(async (options) => (await import('./keys.ts')).listKeys(options))

  keys
    .command('show')
    .description('describe an API key')
    .argument('<key>', keyHelp)
    .addOption(config)
    .addOption(json)
    .action(async (key: string, options) => (await import('./keys.ts')).showKey(key, options))

  keys
    .command('revoke')
    .description('end an API key')
    .argument('<key>', keyHelp)
    .addOption(config)
    .action(async (key: string, options) => (await import('./keys.ts')).revokeKey(key, options))

  keys
    .command('rotate')
    .description('give an API key a new secret and print it')
    .argument('<key>', keyHelp)
    .option('--grace <time>', 'how long the old secret keeps working, like 1h (default: not at all)', duration)
    .addOption(config)
    .action(async (key: string, options) => (await import('./keys.ts')).rotateKey(key, options))

  const accounts = program
    .command('accounts')
    .description('list accounts, and set their tiers and budgets')
    .helpCommand(false)

  accounts
    .command('list')
    .alias('ls')
    .description('list accounts, and what each has spent this month')
    .addOption(config)
    .addOption(json)
    .action(async (options) => (await import('./accounts.ts')).listAccounts(options))

  accounts
    .command('set')
    .description('set the tier or the budget of an account, which is made if it does not exist')
    .argument('<account>', accountHelp)
    .option('--tier <name>', 'a tier of the configuration file, or none: the one of ORIEL_TIER')
    .option('--budget <amount>', 'what its keys may spend together in a calendar month (UTC), or none', orNone(amount))
    .addOption(config)
    .action(async (account: string, options) => (await import('./accounts.ts')).setAccount(account, options))

  program
    .command('usage')
    .description('show requests, tokens, images and costs')
    .option('--days <number>', 'how many days (UTC), with today (default 30)', days)
    .addOption(
      new Option('--by <group>', 'one line for each (default model)').choices(['day', 'model', 'key', 'account']),
    )
    .option('--account <name>', 'only of this account')
    .addOption(new Option('--csv', 'print CSV').conflicts('json'))
    .addOption(config)
    .addOption(json)
    .action(async (options) => (await import('./usage.ts')).usage(options))

  program
    .command('purge')
    .description('remove the usage of single requests; what each month has cost is kept')
    .argument('<before>', 'a day like 2026-01-31, or an age like 90d', earlier)
    .addOption(yes)
    .addOption(config)
    .action(async (before: number, options) => (await import('./accounts.ts')).purge(before, options))

  program
    .command('erase')
    .description('remove an account with all that is its: keys, usage, deployments, datasets, jobs')
    .argument('<account>', accountHelp)
    .addOption(yes)
    .addOption(config)
    .action(async (account: string, options) => (await import('./accounts.ts')).erase(account, options))
}

const keyHelp = 'its id, or the beginning of the id or of the secret'
const accountHelp = 'a name that `oriel accounts list` shows'

const createHelp = `
The key alone is on stdout, once; what it may do is on stderr:
  KEY=$(oriel keys create --note "the robot")
  oriel keys create --admin                        it may also manage keys over HTTP`
