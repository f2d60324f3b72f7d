import { z } from 'zod'
import type { ErrorKind } from '../../errors.ts'
import { placedMessage } from '../errors.ts'
import { countTokensEndpoint, messagesEndpoint } from '../messages/endpoint.ts'
import { versionHeader } from '../models/anthropic.ts'
import type { Dialect, ErrorFormat } from './dialect.ts'

const types: Partial<Record<ErrorKind, string>> = {
  unauthorized: 'authentication_error',
  payment_required: 'billing_error',
  forbidden: 'permission_error',
  not_found: 'not_found_error',
  too_large: 'request_too_large',
  rate_limited: 'rate_limit_error',
  internal: 'api_error',
  overloaded: 'overloaded_error',
  engine_failed: 'api_error',
}

const schema = z.strictObject({
  type: z.literal('error'),
  error: z.strictObject({ type: z.string(), message: z.string() }),
  request_id: z.string(),
})

const errors: ErrorFormat<typeof schema> = {
  // Its clients repeat a request after a 408 by themselves, and the URL would be fetched again and again.
  statuses: { overloaded: 529, url_timeout: 400 },
  schema,
  body: (error, requestId) => ({
    type: 'error',
    error: { type: types[error.kind] ?? 'invalid_request_error', message: placedMessage(error) },
    request_id: requestId,
  }),
}

/** Anthropic's API. The registry adds the bases of the other dialects. */
export const anthropic: Dialect = {
  title: 'Anthropic',
  bases: ['/v1'],
  endpoints: [messagesEndpoint, countTokensEndpoint],
  errors,
  marker: versionHeader,
  headers: (requestId) => ({ 'request-id': requestId }),
  defaults: { overflow: 'truncate', completionTokens: null, requiresMaxTokens: true },
}
