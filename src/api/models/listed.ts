import type { ListedModel } from '../../deployments/index.ts'

/** Whether its files are on this server. The others are in the catalogue only. */
export const isHere = ({ state }: ListedModel): boolean => state !== 'not_pulled'

export const createdAt = ({ created }: ListedModel): string => new Date(created * 1000).toISOString()
