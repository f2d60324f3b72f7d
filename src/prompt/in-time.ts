import { type Context, createContext, Script } from 'node:vm'
import { OrielError } from '../errors.ts'

/** A long chat takes a tenth of a second. A process that gives the cores to others may have a fiftieth of one. */
const limitMs = 10_000

const call = new Script('work()')
/** The limit is one of scripts in a context. What they call is stopped too, wherever it is. */
let context: Context | undefined

/**
 * Runs what a chat template computes, and stops it if it does not end. It blocks its thread so long.
 * @throws OrielError `internal` if it was stopped
 */
export function inTime<T>(work: () => T): T {
  context ??= createContext({})
  context.work = work
  try {
    return call.runInContext(context, { timeout: limitMs })
  } catch (error) {
    if (!isTimeout(error)) throw error
    throw new OrielError(
      'internal',
      `The model's chat template does not end: it was stopped after ${limitMs / 1000} s.`,
      { code: 'bad_model', cause: error },
    )
  } finally {
    context.work = undefined
  }
}

/** It is an error of the context, which has a class `Error` of its own. */
const isTimeout = (error: unknown): boolean =>
  typeof error === 'object' && error !== null && 'code' in error && error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT'
