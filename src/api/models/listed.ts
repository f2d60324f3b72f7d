import { type Identity, mayUse, notForModel } from '../../accounts/index.ts'
import type { Adapter, ListedModel } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'

/** Whether its files are on this server. The others are in the catalogue only. */
export const isHere = ({ state }: ListedModel): boolean => state !== 'not_pulled'

export const createdAt = ({ created }: ListedModel): string => new Date(created * 1000).toISOString()

/** Whether a list shows a model to who asks: a key may be for some models only. */
export const isFor =
  (identity: Identity) =>
  ({ id }: Pick<ListedModel, 'id'>): boolean =>
    mayUse(identity, id)

/** A model as lists show it. An adapter is what the model is that it changes. */
export interface ShownModel extends ListedModel {
  /** The id of that model. Of adapters only. */
  readonly parent?: string
}

/** Models, and those of the adapters whose models are among them. */
export function withAdapters(models: readonly ListedModel[], adapters: readonly Adapter[]): ShownModel[] {
  const shown = adapters.flatMap(({ id, aliases, created, base, fits }): ShownModel[] => {
    const model = [base, ...fits].flatMap((name) => models.find((one) => one.id === name) ?? [])[0]
    if (model === undefined) return []
    const description = `An adapter of ${model.title}.`
    return [{ ...model, id, aliases, created, title: id, description, parent: model.id }]
  })
  return [...models, ...shown]
}

/** Whose deployments who asks may use. undefined: those of all accounts, as on a server without keys. */
export const ownerOf = ({ account, key, scopes }: Identity): string | undefined =>
  key === null || scopes.includes('admin') ? undefined : account

/**
 * Looks up a model by its name for who asks. A key that is for some models learns nothing of the others, not even whether
 * they exist: the look-up's own refusal would name them.
 * @throws OrielError `forbidden`; `not_found`; as the look-up does
 */
export async function ownModel<Model extends Pick<ListedModel, 'id'>>(
  identity: Identity,
  name: string,
  lookUp: () => Promise<Model>,
): Promise<Model> {
  if (identity.models === null) return lookUp()
  const found = await lookUp().catch((error: unknown) => {
    if (!mayUse(identity, name)) throw notForModel(name)
    if (!(error instanceof OrielError) || error.kind !== 'not_found') throw error
    throw new OrielError('not_found', `The model ${JSON.stringify(name.slice(0, 200))} is not on this server.`, {
      param: 'model',
      code: 'model_not_found',
    })
  })
  if (!mayUse(identity, found.id)) throw notForModel(name)
  return found
}
