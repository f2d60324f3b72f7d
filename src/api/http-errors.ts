import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { OrielError } from '../errors.ts'
import { errorBody, statusOf } from './errors.ts'

/**
 * What the HTTP framework refuses by itself, told in our words; other errors pass as they are.
 * @param maxBodyBytes for the message
 */
export function explainHttpError(error: unknown, maxBodyBytes: number): unknown {
  switch (codeOf(error)) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new OrielError(
        'too_large',
        `The body of the request is larger than ${maxBodyBytes} bytes, the most that this server takes.`,
        { code: 'body_too_large' },
      )
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new OrielError(
        'unsupported_media',
        'The body must be JSON, with the header content-type: application/json.',
        { code: 'unsupported_content_type' },
      )
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new OrielError('invalid', 'The body is not as long as its content-length says.', { code: 'invalid_body' })
    case 'FST_ERR_BAD_URL':
      return new OrielError('invalid', 'The path of the URL cannot be read.', { code: 'invalid_url' })
    default:
      return error
  }
}

/** Answers bytes that are no request at all. There is no request to answer to, so this writes to the socket itself. */
export function refuseConnection(error: Error, socket: Socket): void {
  if (codeOf(error) === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const shown = explainProtocolError(codeOf(error))
  const status = statusOf(shown, 'openai')
  const body = JSON.stringify(errorBody(shown, 'openai', ''))
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: application/json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  )
}

function explainProtocolError(code: string | undefined): OrielError {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return new OrielError('timeout', 'The request did not arrive in time.', { code: 'request_timeout' })
  if (code === 'HPE_HEADER_OVERFLOW')
    return new OrielError('too_large', 'The headers of the request are too large.', { code: 'headers_too_large' })
  return new OrielError('invalid', 'What was sent is no HTTP request that can be read.', { code: 'invalid_request' })
}

const codeOf = (error: unknown): string | undefined =>
  typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined
