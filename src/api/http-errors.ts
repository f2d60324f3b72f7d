import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { OrielError } from '../errors.ts'
import { notJson } from './body/content-types.ts'
import { unhurried } from './body/read-body.ts'
import { defaultDialect } from './dialects/index.ts'
import { statusOf } from './errors.ts'

/** Errors of the HTTP framework as errors of ours; others are returned as they are. */
export function explainHttpError(error: unknown): unknown {
  switch (codeOf(error)) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return notJson()
    case 'FST_ERR_BAD_URL':
      return new OrielError('invalid', 'The URL path is not valid.', { code: 'invalid_url' })
    default:
      return error
  }
}

/** Answers bytes that are not an HTTP request. The framework has no reply for them, so this writes to the socket. */
export function refuseConnection(error: Error, socket: Socket): void {
  if (codeOf(error) === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  if (codeOf(error) === requestTimeout && unhurried.has(socket)) return
  const shown = explainProtocolError(codeOf(error))
  const { errors } = defaultDialect
  const status = statusOf(shown.kind, errors)
  const body = JSON.stringify(errors.body(shown, ''))
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: application/json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  )
}

const requestTimeout = 'ERR_HTTP_REQUEST_TIMEOUT'

function explainProtocolError(code: string | undefined): OrielError {
  if (code === requestTimeout)
    return new OrielError('timeout', 'The request did not arrive in time.', { code: 'request_timeout' })
  if (code === 'HPE_HEADER_OVERFLOW')
    return new OrielError('too_large', 'The request headers are too large.', { code: 'headers_too_large' })
  return new OrielError('invalid', 'The bytes received are not a valid HTTP request.', { code: 'invalid_request' })
}

const codeOf = (error: unknown): string | undefined =>
  typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined
