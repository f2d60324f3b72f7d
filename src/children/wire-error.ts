import { type ErrorDetails, type ErrorKind, OrielError } from '../errors.ts'

/** An error as plain data, for JSON and for structured clones. */
export interface WireError extends Omit<ErrorDetails, 'cause'> {
  kind: ErrorKind
  message: string
  /** The stack or text of what caused it, for the log only. */
  cause?: string | undefined
}

/**
 * @param unexpected the message of the `internal` error that stands for anything that is not an `OrielError`. The
 * original becomes its cause.
 */
export function toWire(error: unknown, unexpected: string): WireError {
  if (!(error instanceof OrielError))
    return toWire(new OrielError('internal', unexpected, { cause: error }), unexpected)
  const { kind, message, param, code, retryAfter, schemaFault, elsewhere, cause } = error
  const details = { param, code, retryAfter, schemaFault, elsewhere }
  return { kind, message, ...details, cause: cause === undefined ? undefined : textOf(cause) }
}

export function fromWire({ kind, message, ...details }: WireError): OrielError {
  return new OrielError(kind, message, details)
}

const textOf = (cause: unknown): string => (cause instanceof Error ? (cause.stack ?? cause.message) : String(cause))
