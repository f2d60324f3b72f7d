import { OrielError } from '../errors.ts'
import type { ModelCard } from '../models/index.ts'

/**
 * Pause before a failed load is tried again, in ms: the last one for files that cannot be loaded, unless they change; for a
 * process that died the first one, which doubles with each. A model whose encoders alone failed stays for the last one.
 */
export const failurePauses = { first: 1000, last: 30_000 }
/** Why a load failed, as requests are told. @param pause until it is tried again, in ms */
export function whyNotLoaded({ id }: ModelCard, error: unknown, pause: number): OrielError {
  const known = error instanceof OrielError ? error.message : 'the server met an unexpected error.'
  const message = `The model ${id} could not be loaded: ${known}`
  const details = { code: 'model_not_loaded', cause: error }
  return isBroken(error)
    ? new OrielError('precondition_failed', message, details)
    : new OrielError('engine_failed', message, { ...details, retryAfter: pause / 1000 })
}

/** Whether a model's files are to blame, which stay as they are. A process that died may live the next time. */
export const isBroken = (error: unknown): boolean => error instanceof OrielError && error.kind !== 'internal'

export const replaced = ({ id }: ModelCard): OrielError =>
  new OrielError('engine_failed', `The files of the model ${id} have changed. Send the request again.`, {
    code: 'model_changed',
    retryAfter: 1,
  })
