/** The kinds of errors. All rooms throw them; only `api/` maps a kind to the HTTP status and body of a dialect. */
export type ErrorKind =
  | 'invalid' // the request is wrong; `param` names the part
  | 'unauthorized'
  | 'payment_required' // the account has no credit left
  | 'forbidden'
  | 'not_found'
  | 'method_not_allowed'
  | 'conflict' // there is one of this name already
  | 'timeout' // the client, or a server that is asked, took too long
  | 'url_timeout' // the host of a URL in the request took too long
  | 'precondition_failed' // the state of the account or model does not allow an answer: suspended, an adapter that failed to load
  | 'too_large'
  | 'unsupported_media' // the format of the data is not supported
  | 'unreadable_media' // the data is damaged
  | 'rate_limited'
  | 'overloaded' // the server is at a limit: the same request may succeed later
  | 'engine_failed' // the engine crashed while it ran the request
  | 'cancelled' // the client disconnected
  | 'internal'
  | 'not_implemented' // what means nothing here

export interface ErrorDetails {
  /** The part of the request that is at fault, as a path: `messages[0].content[2].image_url`. */
  param?: string | undefined
  /** Identifies the error for programs; stable across releases: `image_too_large`. */
  code?: string | undefined
  /** Seconds after which the same request may succeed. */
  retryAfter?: number | undefined
  /** For `invalid_json_schema`: where in the schema, and what is wrong there. */
  schemaFault?: SchemaFault | undefined
  /** Whether another server may do what the one that was chosen cannot: the request is not at fault. */
  elsewhere?: boolean | undefined
  cause?: unknown
}

/** The part of a JSON schema that is at fault. */
export interface SchemaFault {
  /** Keywords, property names and indices from the schema's root. */
  path: readonly (string | number)[]
  /** A predicate: `is nested more than 128 deep`. */
  reason: string
}

/** An error whose message may be sent to the client: it never contains a path, an address or the text of a library. */
export class OrielError extends Error {
  override readonly name = 'OrielError'
  readonly kind: ErrorKind
  readonly param: string | undefined
  readonly code: string | undefined
  readonly retryAfter: number | undefined
  readonly schemaFault: SchemaFault | undefined
  readonly elsewhere: boolean | undefined

  constructor(kind: ErrorKind, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.kind = kind
    this.param = details.param
    this.code = details.code
    this.retryAfter = details.retryAfter
    this.schemaFault = details.schemaFault
    this.elsewhere = details.elsewhere
  }

  /** The same error with `param` set. Rooms below the API do not know which part of a request they work on. */
  at(param: string, message = this.message): OrielError {
    return new OrielError(this.kind, message, { ...this, cause: this.cause, param })
  }
}

/** An upstream's filter ended an answer, where there is no word for an answer that is not whole. */
export const withheld = (): OrielError =>
  new OrielError('invalid', "This model's server ended the answer because of what is in it.", {
    code: 'content_filter',
  })

export const cancelled = (): OrielError => new OrielError('cancelled', 'The request was cancelled.')

/** A file of a model is damaged, incomplete, or does not belong to the others. */
export const badModel = (message: string, cause?: unknown): OrielError =>
  new OrielError('invalid', message, { code: 'bad_model', cause })

/** A model that this version cannot run. */
export const unsupportedModel = (message: string): OrielError =>
  new OrielError('invalid', message, { code: 'unsupported_model' })

/** A model does not fit in the memory of this machine or of its GPU. */
export const outOfMemory = (message: string): OrielError =>
  new OrielError('internal', message, { code: 'out_of_memory' })

export const shuttingDown = (): OrielError =>
  new OrielError('overloaded', 'The server is shutting down.', { code: 'shutting_down', retryAfter: 5 })

/** A stream whose errors are replaced by what `change` makes of them. */
export async function* changingErrors<T>(
  stream: AsyncIterable<T>,
  change: (error: unknown) => unknown,
): AsyncIterable<T> {
  try {
    yield* stream
  } catch (error) {
    throw change(error)
  }
}
