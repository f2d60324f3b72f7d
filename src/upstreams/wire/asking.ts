import type { z } from 'zod'
import { parseJson } from '../../json.ts'
import { AttemptFailed } from '../attempt-failed.ts'
import type { Call, Upstream } from '../target.ts'
import { failureOf, unreadable } from './failures.ts'
import { bytesOf } from './whole-body.ts'

/** Bytes of an answer that is read as a whole: lists of hundreds of models are a tenth of it. */
const mostBytes = 16e6

export const get = (path: string): Call => ({ method: 'GET', path, headers: {}, body: null })

/**
 * Asks an upstream for something small.
 * @param headers its key, in the way of its API
 * @throws AttemptFailed; OrielError `cancelled`
 */
export async function ask<T>(
  { connection }: Upstream,
  call: Call,
  headers: Readonly<Record<string, string>>,
  schema: z.ZodType<T>,
  signal: AbortSignal,
): Promise<T> {
  const received = await connection.send({ ...call, headers: { ...call.headers, ...headers } }, signal)
  if (received.status !== 200) throw await failureOf(received)
  const found = schema.safeParse(parseJson((await bytesOf(received.body, mostBytes)).toString('utf8')))
  if (!found.success) throw unreadable(`an answer whose ${found.error.issues[0]?.path.join('.') || 'JSON'} is wrong`)
  return found.data
}

/** As `ask`, for what not every version of a server has: null if it does not answer so. */
export const askIfThere = <T>(...asked: Parameters<typeof ask<T>>): Promise<T | null> =>
  ask(...asked).catch((error: unknown) => {
    if (error instanceof AttemptFailed) return null
    throw error
  })
