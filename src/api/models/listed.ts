import type { Identity } from '../../accounts/index.ts'
import type { ListedModel } from '../../deployments/index.ts'

/** Whether its files are on this server. The others are in the catalogue only. */
export const isHere = ({ state }: ListedModel): boolean => state !== 'not_pulled'

export const createdAt = ({ created }: ListedModel): string => new Date(created * 1000).toISOString()

/** Whether a list shows a model to who asks: a key may be for some models only. */
export const isFor =
  ({ models }: Identity) =>
  ({ id }: Pick<ListedModel, 'id'>): boolean =>
    models === null || models.includes(id)
