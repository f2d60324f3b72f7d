import { OrielError } from '../errors.ts'

/**
 * What a name means on the server: its id, and the account that it is in.
 * @param name an id, or `accounts/acme/deployments/eyes`
 * @throws OrielError `invalid` if `--account` says another account than the name
 */
export function inAccount<Flags extends { account?: string }>(
  name: string,
  flags: Flags,
): { id: string; flags: Flags } {
  const [, account, id] = /^accounts\/([^/]+)\/[^/]+\/(.+)$/.exec(name) ?? []
  if (account === undefined || id === undefined) return { id: name, flags }
  if (flags.account !== undefined && flags.account !== account)
    throw new OrielError(
      'invalid',
      `${name} is in the account ${account}, and --account is ${flags.account}. Leave out --account.`,
    )
  return { id, flags: { ...flags, account } }
}
