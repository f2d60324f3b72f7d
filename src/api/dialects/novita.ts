import { z } from 'zod'
import type { ErrorKind } from '../../errors.ts'
import { statusOf } from '../errors.ts'
import { errorOf, openaiEndpoints, openaiError } from '../openai-protocols.ts'
import type { Dialect, ErrorFormat } from './dialect.ts'

const reasons: Partial<Record<ErrorKind, string>> = {
  unauthorized: 'INVALID_API_KEY',
  payment_required: 'NOT_ENOUGH_BALANCE',
  forbidden: 'PERMISSION_DENIED',
  not_found: 'NOT_FOUND',
  timeout: 'REQUEST_TIMEOUT',
  url_timeout: 'REQUEST_TIMEOUT',
  precondition_failed: 'PRECONDITION_FAILED',
  too_large: 'REQUEST_TOO_LARGE',
  rate_limited: 'RATE_LIMIT_EXCEEDED',
  internal: 'INTERNAL_ERROR',
  overloaded: 'MODEL_NOT_AVAILABLE',
  engine_failed: 'MODEL_NOT_AVAILABLE',
}

const schema = z.strictObject({
  code: z.int().describe('The HTTP status.'),
  reason: z.string(),
  message: z.string(),
  metadata: z.strictObject({}),
  ...openaiError.shape,
})

const errors: ErrorFormat<typeof schema> = {
  statuses: { payment_required: 403 },
  schema,
  body: (error) => ({
    code: statusOf(error.kind, errors),
    reason: error.code === 'model_not_found' ? 'MODEL_NOT_FOUND' : (reasons[error.kind] ?? 'INVALID_REQUEST'),
    message: error.message,
    metadata: {},
    // OpenAI's clients, which Novita documents, take the message from `error` only.
    error: errorOf(error),
  }),
}

/** Novita's API: OpenAI's protocols with its own errors. */
export const novita: Dialect = {
  title: 'Novita',
  bases: ['/openai/v1', '/openai', '/v3/openai'],
  endpoints: openaiEndpoints,
  errors,
  defaults: { overflow: 'error', completionTokens: null },
}
