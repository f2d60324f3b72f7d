import { isCalled } from '../deployments/index.ts'
import { OrielError } from '../errors.ts'
import type { AnswerServices } from './answering/answer.ts'
import type { Routes } from './routes.ts'

/** The routes for whoever runs the server. Pages of other origins cannot use them. */
export function addAdministration(routes: Routes, { deployments, clearCache }: AnswerServices): void {
  routes.add('DELETE', '/admin/cache', 'admin', async (_request, reply) => {
    await clearCache()
    return reply.status(204).send()
  })
  routes.add('GET', '/admin/models', 'admin', async () => ({
    models: deployments.residents().map(({ id, state, bytes, users, idleMs }) => ({
      id,
      state,
      memory_bytes: bytes,
      running: users,
      idle_seconds: idleMs === null ? null : Math.floor(idleMs / 1000),
    })),
    memory: { budget_bytes: deployments.memory.budget, taken_bytes: deployments.memory.taken },
  }))
  routes.add('DELETE', '/admin/models/*', 'admin', async ({ params }) => {
    const name = (params as { '*': string })['*']
    const found = deployments.residents().find((model) => isCalled(model, name))
    if (found === undefined)
      throw new OrielError('not_found', `The model ${JSON.stringify(name)} is not loaded.`, {
        param: 'model',
        code: 'model_not_loaded',
      })
    await deployments.unload(found.id)
    return { id: found.id, running: found.users }
  })
}
