import { z } from 'zod'
import { isCalled } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { paramOf, place } from './managing.ts'

const residentModels = z.strictObject({
  models: z.array(
    z.strictObject({
      id: z.string(),
      state: z.string(),
      memory_bytes: z.number().nullable(),
      running: z.int().describe('Requests.'),
      idle_seconds: z.int().nullable(),
    }),
  ),
  memory: z.strictObject({ budget_bytes: z.number(), taken_bytes: z.number() }),
})

const unloadedModel = z.strictObject({ id: z.string(), running: z.int().describe('Requests that it answers first.') })

/** Models in memory, and the cache of fetched files. */
export const memoryEndpoints: readonly Endpoint[] = [
  {
    ...place,
    method: 'GET',
    path: '/admin/models',
    summary: 'List the models in memory',
    answer: residentModels,
    handler:
      ({ services: { deployments } }) =>
      async (): Promise<z.output<typeof residentModels>> => ({
        models: deployments.residents().map(({ id, state, bytes, users, idleMs }) => ({
          id,
          state,
          memory_bytes: bytes,
          running: users,
          idle_seconds: idleMs === null ? null : Math.floor(idleMs / 1000),
        })),
        memory: { budget_bytes: deployments.memory.budget, taken_bytes: deployments.memory.taken },
      }),
  },
  {
    ...place,
    method: 'DELETE',
    path: '/admin/models/{model}',
    pattern: '/admin/models/*',
    summary: 'Unload a model when its requests are over',
    answer: unloadedModel,
    handler:
      ({ services: { deployments } }) =>
      async (request): Promise<z.output<typeof unloadedModel>> => {
        const name = paramOf(request, '*')
        const found = deployments.residents().find((model) => isCalled(model, name))
        if (found === undefined)
          throw new OrielError('not_found', `The model ${JSON.stringify(name)} is not loaded.`, {
            param: 'model',
            code: 'model_not_loaded',
          })
        await deployments.unload(found.id)
        return { id: found.id, running: found.users }
      },
  },
  {
    ...place,
    method: 'DELETE',
    path: '/admin/cache',
    summary: 'Clear the cache of fetched files',
    answer: null,
    handler:
      ({ services: { clearCache } }) =>
      async (_request, reply) => {
        await clearCache()
        return reply.status(204).send()
      },
  },
]
