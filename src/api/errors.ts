import type { FastifyReply, FastifyRequest } from 'fastify'
import { type ErrorKind, OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'

/** What an error is over HTTP, for the dialects of OpenAI: the one place where kinds become statuses and types. */
const table: Record<ErrorKind, { status: number; type: string }> = {
  invalid: { status: 400, type: 'invalid_request_error' },
  unauthorized: { status: 401, type: 'authentication_error' },
  forbidden: { status: 403, type: 'permission_error' },
  not_found: { status: 404, type: 'invalid_request_error' },
  method_not_allowed: { status: 405, type: 'invalid_request_error' },
  timeout: { status: 408, type: 'invalid_request_error' },
  too_large: { status: 413, type: 'invalid_request_error' },
  unsupported_media: { status: 415, type: 'invalid_request_error' },
  unreadable_media: { status: 422, type: 'invalid_request_error' },
  rate_limited: { status: 429, type: 'rate_limit_error' },
  cancelled: { status: 499, type: 'invalid_request_error' },
  internal: { status: 500, type: 'server_error' },
  overloaded: { status: 503, type: 'server_error' },
  engine_failed: { status: 503, type: 'server_error' },
}

export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null }
}

export const statusOf = (error: OrielError): number => table[error.kind].status

export const errorBody = ({ kind, message, param, code }: OrielError): ErrorBody => ({
  error: { message, type: table[kind].type, param: param ?? null, code: code ?? null },
})

/** Whatever was thrown, as an error that may be shown: what nobody foresaw becomes `internal` and tells nothing. */
export function toOrielError(error: unknown): OrielError {
  if (error instanceof OrielError) return error
  return new OrielError('internal', 'The server met an error that it did not expect.', { cause: error })
}

/** Answers with an error, and logs the cause of those that are the server's own. */
export function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply, log: Logger): FastifyReply {
  const shown = toOrielError(error)
  logError(shown, request.id, log)
  reply.header('x-request-id', request.id)
  if (shown.retryAfter !== undefined) reply.header('retry-after', String(shown.retryAfter))
  return reply.status(statusOf(shown)).send(errorBody(shown))
}

export function logError(error: OrielError, requestId: string, log: Logger): void {
  const line = { requestId, status: statusOf(error), kind: error.kind, code: error.code, message: error.message }
  if (error.kind === 'internal') log.error({ ...line, cause: error.cause }, 'a request failed')
  else log.info(line, 'a request was refused')
}
