import { z } from 'zod'
import { OrielError } from '../errors.ts'

/** Most replicas of a deployment: each is a process, on one machine. */
export const mostReplicas = 16

const count = z.int().min(0).max(mostReplicas)
const ms = z.number().min(0)

/** What somebody wants of a deployment. Windows are in ms. */
export const wanted = z.strictObject({
  displayName: z.string(),
  description: z.string(),
  minReplicas: count,
  maxReplicas: count,
  /** Load must be higher for so long before another replica starts. */
  scaleUpMs: ms,
  /** Load must be lower for so long before a replica stops. */
  scaleDownMs: ms,
  /** Time without requests before the last replica stops, if there need be none. */
  scaleToZeroMs: ms,
  /** Requests for each replica at which another one starts: their number, or a share of the sequences that an engine runs at once. */
  loadTarget: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('requests'), value: z.number().positive() }),
    z.strictObject({ kind: z.literal('share'), value: z.number().positive().max(1) }),
  ]),
})

/** A deployment as it is kept. Times are in ms since 1970. */
export const record = wanted.extend({
  account: z.string(),
  id: z.string(),
  /** The id of its model. */
  model: z.string(),
  /** How many it should have now, between the least and the most. */
  replicas: count,
  created: z.number(),
  /** When somebody changed it last. That its load changed its replicas is no such change. */
  updated: z.number(),
  /** null: it is not deleted. One that is can be restored until it is purged. */
  deleted: z.number().nullable(),
})

export type Wanted = Readonly<z.output<typeof wanted>>
export type DeploymentRecord = Readonly<z.output<typeof record>>

/** As Fireworks has them. */
export const usualWanted: Wanted = {
  displayName: '',
  description: '',
  minReplicas: 0,
  maxReplicas: 1,
  scaleUpMs: 30_000,
  scaleDownMs: 600_000,
  scaleToZeroMs: 3_600_000,
  loadTarget: { kind: 'share', value: 0.8 },
}

/** How long a deleted deployment can be restored, in ms. */
export const purgeMs = 7 * 86_400_000

/** @throws OrielError `invalid` */
export function checkBounds({ minReplicas, maxReplicas }: Wanted): void {
  if (minReplicas > maxReplicas)
    throw new OrielError(
      'invalid',
      `minReplicaCount is ${minReplicas}, which is more than maxReplicaCount, ${maxReplicas}.`,
      { param: 'minReplicaCount', code: 'bad_replica_count' },
    )
}

export const between = (count: number, { minReplicas, maxReplicas }: Wanted): number =>
  Math.min(Math.max(count, minReplicas), maxReplicas)
