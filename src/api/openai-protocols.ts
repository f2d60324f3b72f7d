import { z } from 'zod'
import type { ErrorKind, OrielError } from '../errors.ts'
import { chatEndpoint } from './chat/endpoint.ts'
import { completionsEndpoint } from './completions/endpoint.ts'
import { previewEndpoint } from './counting/preview.ts'
import { tokenizeEndpoint } from './counting/tokenize.ts'
import type { Endpoint } from './dialects/dialect.ts'
import { embeddingsEndpoint } from './embeddings/endpoint.ts'
import { modelEndpoint, modelsEndpoint } from './models/models.ts'
import { responsesEndpoints } from './responses/endpoint.ts'
import { transcriptionEndpoints } from './transcriptions/endpoint.ts'
import { ownUsageEndpoint } from './usage/usage.ts'

/** What the dialects that speak OpenAI's protocols have in common: endpoints, and the `error` of an error's body. */
export const openaiEndpoints: readonly Endpoint[] = [
  chatEndpoint,
  completionsEndpoint,
  ...responsesEndpoints,
  embeddingsEndpoint,
  ...transcriptionEndpoints,
  tokenizeEndpoint,
  previewEndpoint,
  modelsEndpoint,
  modelEndpoint,
  ownUsageEndpoint,
]

/** Body of an error as OpenAI has it. */
export const openaiError = z.strictObject({
  error: z.strictObject({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable().describe('The part of the request that is at fault.'),
    code: z.string().nullable().describe('A stable identifier for programs.'),
  }),
})

const types: Partial<Record<ErrorKind, string>> = {
  unauthorized: 'authentication_error',
  payment_required: 'billing_error',
  forbidden: 'permission_error',
  rate_limited: 'rate_limit_error',
  internal: 'server_error',
  overloaded: 'server_error',
  engine_failed: 'server_error',
}

/** The `error` of that body. */
export const errorOf = ({ kind, message, param, code }: OrielError): z.output<typeof openaiError>['error'] => ({
  message,
  type: types[kind] ?? 'invalid_request_error',
  param: param ?? null,
  code: code ?? null,
})
