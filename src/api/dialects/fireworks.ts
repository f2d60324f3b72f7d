import { z } from 'zod'
import { accountEndpoints } from '../control/accounts.ts'
import { datasetEndpoints } from '../control/datasets.ts'
import { deployedModelEndpoints } from '../control/deployed-models.ts'
import { deploymentEndpoints } from '../control/deployments.ts'
import { elsewhereEndpoints } from '../control/elsewhere.ts'
import { modelEndpoints } from '../control/models.ts'
import { shapeEndpoints } from '../control/shapes.ts'
import { transferEndpoints } from '../control/transfers.ts'
import { tuningJobEndpoints } from '../control/tuning-jobs.ts'
import { uploadEndpoints } from '../control/uploads.ts'
import { errorOf, openaiEndpoints, openaiError } from '../openai-protocols.ts'
import type { Dialect, ErrorFormat } from './dialect.ts'

const schema = z.strictObject({
  error: z.strictObject({ object: z.literal('error'), ...openaiError.shape.error.shape }),
})

const errors: ErrorFormat<typeof schema> = {
  schema,
  body: (error) => ({ error: { object: 'error', ...errorOf(error) } }),
}

/** Fireworks' API: OpenAI's protocols, with answers that fit the context instead of a refusal. */
export const fireworks: Dialect = {
  title: 'Fireworks',
  bases: ['/inference/v1'],
  endpoints: openaiEndpoints,
  errors,
  defaults: { overflow: 'truncate', completionTokens: null },
}

/** Fireworks' control plane, as far as it means something on one's own machine. */
export const fireworksAccounts: Dialect = {
  ...fireworks,
  bases: ['/v1', '/inference/v1'],
  endpoints: [
    ...accountEndpoints,
    ...modelEndpoints,
    ...uploadEndpoints,
    ...transferEndpoints,
    ...datasetEndpoints,
    ...deploymentEndpoints,
    ...deployedModelEndpoints,
    ...shapeEndpoints,
    ...tuningJobEndpoints,
    ...elsewhereEndpoints,
  ],
}
