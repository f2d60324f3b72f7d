import { setTimeout as sleep } from 'node:timers/promises'
import { OrielError } from '../../errors.ts'

/** What was asked for, for the words of an error. */
export interface Refusal {
  repo: string
  revision?: string
  path?: string
}

type Headers = Record<string, string | string[] | undefined>

/** The hub is busy, or something on the way to it is: the same request may succeed later. */
class Busy extends Error {
  /** Seconds that it asks for. */
  readonly after: number | null

  constructor(status: number, after: number | null) {
    super(`the hub answers ${status}`)
    this.after = after
  }
}

/** Attempts in a row that bring nothing. */
const mostAttempts = 7
/** Pause before the second attempt in ms, doubled with each one after it up to the last. */
const pauses = { first: 400, last: 20_000 }
/** The longest pause that the hub may ask for, in seconds. */
const longestAsked = 120

/** The error for an answer of 300 and above, by the hub's own code for it and the status. */
export function refusedBy(status: number, headers: Headers, what: Refusal, hasToken: boolean): Error {
  const { repo, revision = 'main', path } = what
  const code = String(headers['x-error-code'] ?? '')
  if (status === 429 || status === 408 || status >= 500) return new Busy(status, secondsOf(headers['retry-after']))
  if (code === 'GatedRepo' || status === 403)
    return new OrielError(
      hasToken ? 'forbidden' : 'unauthorized',
      hasToken
        ? `${repo} is gated, and your token has no access to it: ask for it on the page of the repository, with the account of HF_TOKEN.`
        : `${repo} is gated: accept its terms on its page of the hub, and set HF_TOKEN to a token of that account.`,
    )
  if (status === 401)
    return new OrielError(
      'unauthorized',
      hasToken
        ? `The hub does not accept your token for ${repo}: HF_TOKEN may have expired, or there is no such repository.`
        : `The hub does not show ${repo} to everybody: there is none, or it is private and needs a token in HF_TOKEN.`,
    )
  if (status === 404 && path !== undefined && code !== 'RepoNotFound' && code !== 'RevisionNotFound')
    return new OrielError('not_found', `${repo} has no file ${path} at ${revision}.`)
  if (status === 404 && code === 'RevisionNotFound')
    return new OrielError('not_found', `${repo} has no branch, tag or commit ${revision}.`)
  if (status === 404) return new OrielError('not_found', `There is no repository ${repo} on the hub.`)
  return new OrielError('internal', `The hub refuses ${path ?? repo} with the status ${status}.`)
}

interface Trying {
  signal: AbortSignal
  host: string
  what: Refusal
  onRetry(why: string, seconds: number): void
  /** What an attempt has brought so far: one that brought something is not counted. */
  progress: (() => number) | undefined
}

/** Tries again what failed by the network or a busy hub. @throws OrielError `timeout` when nothing helps */
export async function withRetries<T>(attempt: () => Promise<T>, trying: Trying): Promise<T> {
  const { signal, progress = () => 0 } = trying
  for (let failed = 0, before = progress(); ; ) {
    try {
      return await attempt()
    } catch (error) {
      if (signal.aborted) throw new OrielError('cancelled', 'The pull was stopped.')
      if (error instanceof OrielError || !(error instanceof Error) || !isPassing(error)) throw error
      failed = progress() > before ? 1 : failed + 1
      before = progress()
      const why = error instanceof Busy ? error.message : `the connection is lost (${reasonOf(error)})`
      if (failed >= mostAttempts)
        throw new OrielError(
          'timeout',
          `${trying.what.path ?? trying.what.repo} cannot be fetched from ${trying.host}: ${why}, ${failed} times in a row. What is here stays: the same command goes on from there.`,
          { cause: error },
        )
      const asked = error instanceof Busy ? error.after : null
      const pause = Math.min(pauses.last, pauses.first * 2 ** (failed - 1)) * (1 + Math.random() / 4)
      const wait = asked === null ? pause : Math.min(longestAsked, asked) * 1000
      trying.onRetry(why, wait / 1000)
      await sleep(wait, undefined, { signal }).catch(() => {})
    }
  }
}

/** Whether another attempt may go better: everything of the network may, a full disk may not. */
const isPassing = (error: Error): boolean =>
  error instanceof Busy ||
  ('code' in error && typeof error.code === 'string' && network.test(error.code)) ||
  error.cause instanceof Error

const network = /^(UND_ERR|ECONN|EPIPE|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|HPE_|CUT)/

const reasonOf = (error: Error): string => ('code' in error ? String(error.code) : error.message)

/** `Retry-After` is seconds or a date. */
function secondsOf(value: string | string[] | undefined): number | null {
  if (typeof value !== 'string') return null
  const seconds = Number(value)
  const asked = Number.isNaN(seconds) ? (Date.parse(value) - Date.now()) / 1000 : seconds
  return Number.isNaN(asked) ? null : Math.max(0, asked)
}
