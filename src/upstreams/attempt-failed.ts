import type { OrielError } from '../errors.ts'

export interface FailureDetails {
  /** Whether another target may be tried: nothing of an answer was received, and asking twice is safe. */
  readonly elsewhere: boolean
  /** Whether the target is to blame, not the request. Some in a row take the target out. */
  readonly isFault: boolean
  /** When the target wants to be asked again. */
  readonly retryAfterMs?: number | null
  /** Whether that is a guess, since the target does not say. */
  readonly isGuess?: boolean
}

/** A target did not answer. */
export class AttemptFailed extends Error {
  override readonly name = 'AttemptFailed'
  /** What the client is told if no other target answers. */
  readonly error: OrielError
  readonly elsewhere: boolean
  readonly isFault: boolean
  readonly retryAfterMs: number | null
  readonly isGuess: boolean

  constructor(error: OrielError, { elsewhere, isFault, retryAfterMs = null, isGuess = false }: FailureDetails) {
    super(error.message, { cause: error })
    this.error = error
    this.elsewhere = elsewhere
    this.isFault = isFault
    this.retryAfterMs = retryAfterMs
    this.isGuess = isGuess
  }
}
