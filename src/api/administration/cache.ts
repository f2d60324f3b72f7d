import type { Endpoint } from '../dialects/dialect.ts'
import { place } from './managing.ts'

/** `DELETE /admin/cache`. */
export const cacheEndpoint: Endpoint = {
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
}
