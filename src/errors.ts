/**
 * The closed set of things that can go wrong. Every room throws these; only `api/` knows the HTTP status and
 * the body that each dialect makes of them.
 */
export type ErrorKind =
  | 'invalid' // the request is wrong; `param` says where
  | 'unauthorized'
  | 'payment_required' // the account has nothing left to spend
  | 'forbidden'
  | 'not_found'
  | 'method_not_allowed'
  | 'timeout' // the client, or a host that it named, took too long
  | 'precondition_failed' // the account or the model is not in a state to answer: suspended, an adapter that did not load
  | 'too_large'
  | 'unsupported_media' // the bytes are of no kind that is read here
  | 'unreadable_media' // of a known kind, but broken
  | 'rate_limited'
  | 'overloaded' // no room just now: the same request may succeed later
  | 'engine_failed' // the engine died under the request
  | 'cancelled' // the client went away
  | 'internal'

export interface ErrorDetails {
  /** The part of the request that is at fault, as a path: `messages[0].content[2].image_url`. */
  param?: string | undefined
  /** A word for programs, stable across releases: `image_too_large`. */
  code?: string | undefined
  /** Seconds after which the same request may succeed. */
  retryAfter?: number | undefined
  /** For `invalid_json_schema`: where in the schema, and what is wrong there. */
  schemaFault?: SchemaFault | undefined
  cause?: unknown
}

/** The part of a JSON schema that is at fault. */
export interface SchemaFault {
  /** Keywords, property names and indices from the schema's root. */
  path: readonly (string | number)[]
  /** A predicate: `is nested more than 64 deep`. */
  reason: string
}

/** An error whose message may be shown to the client: it never holds a path, an address or a library's own text. */
export class OrielError extends Error {
  override readonly name = 'OrielError'
  readonly kind: ErrorKind
  readonly param: string | undefined
  readonly code: string | undefined
  readonly retryAfter: number | undefined
  readonly schemaFault: SchemaFault | undefined

  constructor(kind: ErrorKind, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.kind = kind
    this.param = details.param
    this.code = details.code
    this.retryAfter = details.retryAfter
    this.schemaFault = details.schemaFault
  }

  /** The same error, told as one about `param`. Rooms that know no request are given their place in it this way. */
  at(param: string): OrielError {
    return new OrielError(this.kind, this.message, {
      param,
      code: this.code,
      retryAfter: this.retryAfter,
      schemaFault: this.schemaFault,
      cause: this.cause,
    })
  }
}

export const cancelled = (): OrielError => new OrielError('cancelled', 'The request was cancelled.')
