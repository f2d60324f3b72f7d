import type { FastifyReply, FastifyRequest } from 'fastify'
import { type ErrorKind, OrielError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Dialect, ErrorFormat } from './dialects/dialect.ts'
import { describeRequest } from './headers.ts'

/** HTTP status of each kind of error. A dialect may have another for some. */
const usual: Record<ErrorKind, number> = {
  invalid: 400,
  unauthorized: 401,
  payment_required: 402,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  timeout: 408,
  url_timeout: 408,
  conflict: 409,
  precondition_failed: 412,
  too_large: 413,
  unsupported_media: 415,
  unreadable_media: 422,
  rate_limited: 429,
  cancelled: 499,
  internal: 500,
  not_implemented: 501,
  overloaded: 503,
  engine_failed: 503,
}

export const statusOf = (kind: ErrorKind, { statuses }: Pick<ErrorFormat, 'statuses'>): number =>
  statuses?.[kind] ?? usual[kind]

/** Statuses that clients of a dialect may see, each with its kinds. `cancelled` appears in the log only. */
export function statusesOf(format: ErrorFormat): { status: number; kinds: ErrorKind[] }[] {
  const found = new Map<number, ErrorKind[]>()
  for (const kind of Object.keys(usual) as ErrorKind[]) {
    if (kind === 'cancelled') continue
    const status = statusOf(kind, format)
    found.set(status, [...(found.get(status) ?? []), kind])
  }
  return [...found].map(([status, kinds]) => ({ status, kinds }))
}

/** Any thrown value as an error that may be shown. An unexpected one becomes `internal`, without its text. */
export function toOrielError(error: unknown): OrielError {
  if (error instanceof OrielError) return error
  return new OrielError('internal', 'The server met an error that it did not expect.', { cause: error })
}

/** For dialects whose errors have no `param`: one of several parts, such as an image, is named before the message. */
export const placedMessage = ({ message, param = '' }: OrielError): string =>
  param.includes('[') && !message.includes(param) ? `${param}: ${message}` : message

export function sendError(
  error: unknown,
  dialect: Dialect,
  request: FastifyRequest,
  reply: FastifyReply,
  log: Logger,
): FastifyReply {
  const shown = toOrielError(error)
  logError(shown, request.id, log)
  describeRequest(reply, request.id, dialect)
  // RFC 9110 wants it with every 401.
  if (shown.kind === 'unauthorized') reply.header('www-authenticate', 'Bearer')
  if (shown.retryAfter !== undefined) reply.header('retry-after', String(shown.retryAfter))
  const { errors } = dialect
  return reply.status(statusOf(shown.kind, errors)).send(errors.body(shown, request.id))
}

/**
 * Logs an error, with its cause if the error is the server's own. What a client sent is not for the log, and the message of
 * a refusal quotes it: its code says what was wrong, and the first name of its `param` where.
 */
export function logError({ kind, code, param, message, cause }: OrielError, requestId: string, log: Logger): void {
  const line = { requestId, status: usual[kind], kind, code }
  if (kind === 'internal') log.error({ ...line, message, cause }, 'a request failed')
  else if (serverSide.includes(kind)) log.info({ ...line, message }, 'a request was refused')
  else log.info({ ...line, param: placeOf(code, param) }, 'a request was refused')
}

/** Kinds whose message is about the server. */
const serverSide: readonly ErrorKind[] = ['overloaded', 'engine_failed', 'cancelled']

/** `messages[0]` of `messages[0].content`: names further down, and those of unknown parameters, may be the client's own. */
const placeOf = (code = '', param = ''): string | undefined =>
  code === 'unknown_parameter' || code === 'body_too_complex' ? undefined : /^[a-z_]+(\[\d+\])*/.exec(param)?.[0]
