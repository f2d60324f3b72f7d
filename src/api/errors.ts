import type { FastifyReply, FastifyRequest } from 'fastify'
import { type ErrorKind, OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { type Dialect, dialectOf } from './dialects.ts'
import { describeRequest } from './headers.ts'

interface Row {
  status: number
  /** OpenAI's and Fireworks' `type`. */
  type: string
  /** Anthropic's `type`, and its status where it is another. */
  anthropic: string
  anthropicStatus?: number
  /** Novita's `reason`, and its status where it is another. */
  novita: string
  novitaStatus?: number
}

const invalid = { type: 'invalid_request_error', anthropic: 'invalid_request_error', novita: 'INVALID_REQUEST' }
const failure = { type: 'server_error', anthropic: 'api_error', novita: 'MODEL_NOT_AVAILABLE' }

/** What an error is over HTTP: the one place where kinds become statuses and the words of each dialect. */
const table: Record<ErrorKind, Row> = {
  invalid: { status: 400, ...invalid },
  unauthorized: {
    status: 401,
    type: 'authentication_error',
    anthropic: 'authentication_error',
    novita: 'INVALID_API_KEY',
  },
  payment_required: {
    status: 402,
    type: 'billing_error',
    anthropic: 'billing_error',
    novita: 'NOT_ENOUGH_BALANCE',
    novitaStatus: 403,
  },
  forbidden: { status: 403, type: 'permission_error', anthropic: 'permission_error', novita: 'PERMISSION_DENIED' },
  not_found: { status: 404, type: 'invalid_request_error', anthropic: 'not_found_error', novita: 'NOT_FOUND' },
  method_not_allowed: { status: 405, ...invalid },
  timeout: { status: 408, ...invalid, novita: 'REQUEST_TIMEOUT' },
  precondition_failed: { status: 412, ...invalid, novita: 'PRECONDITION_FAILED' },
  too_large: { status: 413, ...invalid, anthropic: 'request_too_large', novita: 'REQUEST_TOO_LARGE' },
  unsupported_media: { status: 415, ...invalid },
  unreadable_media: { status: 422, ...invalid },
  rate_limited: { status: 429, type: 'rate_limit_error', anthropic: 'rate_limit_error', novita: 'RATE_LIMIT_EXCEEDED' },
  cancelled: { status: 499, ...invalid },
  internal: { status: 500, ...failure, novita: 'INTERNAL_ERROR' },
  overloaded: { status: 503, ...failure, anthropic: 'overloaded_error', anthropicStatus: 529 },
  engine_failed: { status: 503, ...failure },
}

export function statusOf({ kind }: Pick<OrielError, 'kind'>, dialect: Dialect): number {
  const row = table[kind]
  if (dialect === 'anthropic') return row.anthropicStatus ?? row.status
  if (dialect === 'novita') return row.novitaStatus ?? row.status
  return row.status
}

/** The statuses that errors of a dialect have, each with its kinds. That of a client who is gone is for the log alone. */
export function statuses(dialect: Dialect): { status: number; kinds: string[] }[] {
  const kinds = (Object.keys(table) as ErrorKind[]).filter((kind) => kind !== 'cancelled')
  const found = new Map<number, string[]>()
  for (const kind of kinds) {
    const status = statusOf({ kind }, dialect)
    found.set(status, [...(found.get(status) ?? []), kind])
  }
  return [...found].map(([status, of]) => ({ status, kinds: of }))
}

/** An error as the clients of a dialect read it. */
export function errorBody(shown: OrielError, dialect: Dialect, requestId: string): object {
  const { kind, message, param, code } = shown
  const { type, anthropic, novita } = table[kind]
  const error = { message, type, param: param ?? null, code: code ?? null }
  switch (dialect) {
    case 'openai':
      return { error }
    case 'fireworks':
      return { error: { object: 'error', ...error } }
    case 'novita': {
      // Novita's clients are OpenAI's, and those look for `error` alone: without it they have no message to show.
      const reason = code === 'model_not_found' ? 'MODEL_NOT_FOUND' : novita
      return { code: statusOf(shown, dialect), reason, message, metadata: {}, error }
    }
    case 'anthropic':
      return { type: 'error', error: { type: anthropic, message }, request_id: requestId }
  }
}

/** Whatever was thrown, as an error that may be shown: what nobody foresaw becomes `internal` and tells nothing. */
export function toOrielError(error: unknown): OrielError {
  if (error instanceof OrielError) return error
  return new OrielError('internal', 'The server met an error that it did not expect.', { cause: error })
}

/** Answers with an error, and logs the cause of those that are the server's own. */
export function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply, log: Logger): FastifyReply {
  const shown = toOrielError(error)
  const dialect = dialectOf(request.url)
  logError(shown, request.id, log)
  describeRequest(request, reply)
  if (shown.retryAfter !== undefined) reply.header('retry-after', String(shown.retryAfter))
  return reply.status(statusOf(shown, dialect)).send(errorBody(shown, dialect, request.id))
}

export function logError(error: OrielError, requestId: string, log: Logger): void {
  const { kind, code, message } = error
  const line = { requestId, status: table[kind].status, kind, code, message }
  if (kind === 'internal') log.error({ ...line, cause: error.cause }, 'a request failed')
  else log.info(line, 'a request was refused')
}
