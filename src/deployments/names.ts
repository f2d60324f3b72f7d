import { OrielError } from '../errors.ts'
import { type AdapterCard, entryOf, type Library, type ModelCard } from '../models/index.ts'

/** Fireworks' form of a name. The account is ignored. */
const inAccount = /^accounts\/[^/]+\/models\//
/** Fireworks' form of a deployment's name. */
const deploymentIn = /^accounts\/([^/]+)\/deployments\/([^/#]+)$/

/** What a name of a request may consist of. */
export interface ParsedName {
  /** The model, or an adapter by its own name; null: the name has a deployment only. */
  readonly model: string | null
  /** What is behind `#` without a path may be either of the two. */
  readonly adapter: string | null
  /** `account`: null if the name has none. */
  readonly deployment: { readonly account: string | null; readonly id: string } | null
}

/**
 * Takes a name apart: `model#adapter`, `model#deployment`, `accounts/A/models/X#accounts/A/deployments/D`,
 * `accounts/A/deployments/D`, `#D`. Any other name is a model's or an adapter's own.
 */
export function parseName(name: string): ParsedName {
  const at = name.indexOf('#')
  const [before, behind] = at < 0 ? [name] : [name.slice(0, at), name.slice(at + 1)]
  const [, account, id] = deploymentIn.exec(behind ?? before) ?? []
  const model = before === '' ? null : before
  if (account !== undefined && id !== undefined)
    return { model: behind === undefined ? null : model, adapter: null, deployment: { account, id } }
  if (behind === undefined) return { model, adapter: null, deployment: null }
  return { model, adapter: behind, deployment: inAccount.test(behind) ? null : { account: null, id: behind } }
}

/**
 * The adapter of a name, and the name of what it is used with: a model, or a deployment of it.
 * @param near models that are preferred where the name has none
 * @throws OrielError `precondition_failed` if the adapter cannot be used; `not_found`
 */
export async function adapterIn(
  name: string,
  library: Library,
  near: () => readonly ModelCard[],
): Promise<{ adapter: AdapterCard; base: string } | undefined> {
  const { model, adapter, deployment } = parseName(name)
  if (model === null) return undefined
  const called = adapter ?? model
  const card = await adapterCalled(called, library)
  if (card !== undefined && adapter !== null) return { adapter: card, base: model }
  const own = card === undefined && deployment !== null ? await adapterCalled(model, library) : card
  if (own !== undefined && deployment !== null) return { adapter: own, base: name.slice(name.indexOf('#')) }
  if (card !== undefined) {
    const base = card.base ?? near().find(({ id }) => card.fits.includes(id))?.id ?? card.fits[0]
    return base === undefined ? undefined : { adapter: card, base }
  }
  if (adapter !== null && deployment === null) throw noAdapter(adapter)
  return undefined
}

/** An adapter by a name of a request. @throws OrielError as `Library.adapter` does */
export const adapterCalled = async (name: string, library: Library): Promise<AdapterCard | undefined> =>
  (await library.adapter(name)) ?? (await library.adapter(withoutAccount(name)))

export const noAdapter = (name: string): OrielError =>
  new OrielError('not_found', `The adapter ${JSON.stringify(name.slice(0, 200))} was not found.`, {
    param: 'model',
    code: 'model_not_found',
  })

/** @throws OrielError `precondition_failed` if an adapter is not for a model */
export function checkFits({ id, fits }: AdapterCard, model: string): void {
  if (fits.includes(model)) return
  throw new OrielError(
    'precondition_failed',
    `The adapter ${id} does not fit the model ${model}, but ${fits.join(', ')}.`,
    {
      param: 'model',
      code: 'adapter_unusable',
    },
  )
}

/** A name without Fireworks' account. */
export const withoutAccount = (name: string): string => name.replace(inAccount, '')

/** The error for a name behind `#`. @param adapters of the model before it */
export const neitherAdapterNorDeployment = (name: string, adapters: readonly string[]): OrielError =>
  new OrielError(
    'not_found',
    `There is neither an adapter nor a deployment ${JSON.stringify(name.slice(0, 200))} of this model. ${adapters.length === 0 ? 'It has no adapters here.' : `Its adapters are: ${listed(adapters)}.`}`,
    { param: 'model', code: 'deployment_not_found' },
  )

const mostListed = 20
const listed = (names: readonly string[]): string =>
  names.length > mostListed
    ? `${names.slice(0, mostListed).join(', ')} and ${names.length - mostListed} more`
    : names.join(', ')

/** Whether a request that names a model by `name` means this one. */
export const isCalled = ({ id, aliases }: Pick<ModelCard, 'id' | 'aliases'>, name: string): boolean =>
  id === name || id === withoutAccount(name) || aliases.includes(name)

/**
 * Finds a model of this machine by a name of a request.
 * @param cards models that are named by their files, in addition to those that are found by name
 * @param others ids of further models, for the error
 * @throws OrielError `not_found`; `precondition_failed` if its files cannot be loaded
 */
export async function cardOf(
  name: string,
  library: Library,
  cards: readonly ModelCard[],
  others: () => readonly string[],
): Promise<ModelCard> {
  const short = withoutAccount(name)
  const found = (called: string) => readable(library.lookUp(called))
  const own = cards.find((one) => isCalled(one, name))
  const card =
    (own && (await readable(library.reread(own)))) ??
    (await found(name)) ??
    (short === name ? undefined : await found(short))
  if (card === undefined) throw await missing(name, [...others(), ...cards.map(({ id }) => id)], library)
  return card
}

/** @param named ids of the models that the settings name */
export async function missing(name: string, named: readonly string[], library: Library): Promise<OrielError> {
  const entry = entryOf(name) ?? entryOf(withoutAccount(name))
  const ids = new Set([...named, ...(await library.list()).models.map(({ id }) => id)])
  const why =
    entry === undefined
      ? `was not found. ${ids.size === 0 ? 'There are none on this server.' : `The models are: ${[...ids].join(', ')}.`}`
      : `(${entry.title}) has not been downloaded to this server.`
  return new OrielError('not_found', `The model ${JSON.stringify(name.slice(0, 200))} ${why}`, {
    param: 'model',
    code: 'model_not_found',
  })
}

/** The error of a model with broken files. Its message is sent to clients and contains no path. */
export const unfit = ({ kind, message, cause }: OrielError): OrielError =>
  new OrielError('precondition_failed', kind === 'not_found' ? 'Some of its files are missing.' : message, {
    param: 'model',
    code: 'model_not_loaded',
    cause,
  })

/** @throws OrielError as `unfit` makes it */
export const readable = <Card>(reading: Promise<Card>): Promise<Card> =>
  reading.catch((error: unknown) => {
    throw error instanceof OrielError ? unfit(error) : error
  })
