import type { AnswerServices } from './answering/answer.ts'
import type { Routes } from './routes.ts'

/** The routes for whoever runs the server. Pages of other origins cannot use them. */
export function addAdministration(routes: Routes, { clearCache }: AnswerServices): void {
  routes.add('DELETE', '/admin/cache', 'admin', async (_request, reply) => {
    await clearCache()
    return reply.status(204).send()
  })
}
