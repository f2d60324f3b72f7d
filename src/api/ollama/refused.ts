import { z } from 'zod'
import { OrielError } from '../../errors.ts'
import type { Endpoint, Method } from '../dialects/dialect.ts'

/** What clients of Ollama may ask that this server does not do, with the reason. */
const refused: readonly [method: Method, path: string, why: string][] = [
  ['POST', '/create', 'Clients cannot make models on this server.'],
  ['POST', '/copy', 'Clients cannot copy the models of this server.'],
  ['DELETE', '/delete', 'Clients cannot delete the models of this server. On its machine, run: oriel rm.'],
  ['POST', '/push', 'This server does not upload models.'],
]

export const refusedEndpoints: readonly Endpoint[] = refused.map(([method, path, why]) => ({
  method,
  path,
  tag: 'Ollama',
  summary: 'Refused',
  answer: z.never(),
  handler: () => async () => {
    throw new OrielError('forbidden', why, { code: 'not_supported' })
  },
}))
