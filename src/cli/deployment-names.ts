import { inAccount } from './in-account.ts'

/** The beginning of a model's name in an account. */
const modelName = /^accounts\/[^/]+\/models\//

/** A model's deployment has the name of the model, if it has no other: the same command twice means the same one. */
export const idOfModel = (model: string): string =>
  model
    .replace(modelName, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 63)
    .replace(/^-|-$/g, '')

/**
 * The deployment that a name means: `qwen2.5-vl-3b` is the one that `oriel deploy qwen2.5-vl-3b` made.
 * @throws OrielError as `inAccount` does
 */
export function deploymentNamed<Flags extends { account?: string }>(
  name: string,
  given: Flags,
): { id: string; flags: Flags } {
  // The account of a model's name is not that of its deployment.
  if (modelName.test(name)) return { id: idOfModel(name), flags: given }
  const { id, flags } = inAccount(name, given)
  return { id: isId(id) ? id : idOfModel(id) || id, flags }
}

/** What may be an id is left as it is: it may have been chosen. */
const isId = (name: string): boolean => /^[a-z0-9-]+$/.test(name)
