import { setTimeout as sleep } from 'node:timers/promises'
import { OrielError } from '../../errors.ts'

/** What was requested, for messages. */
export interface Refusal {
  repo: string
  revision?: string
  path?: string
}

type Headers = Record<string, string | string[] | undefined>

/** The hub or a proxy is busy: the same request may succeed later. */
class Busy extends Error {
  /** The pause that it asks for, in seconds. */
  readonly after: number | null

  constructor(status: number, after: number | null) {
    super(`the hub responds with ${status}`)
    this.after = after
  }
}

/** The maximum number of consecutive attempts without progress, and the number for a host that has never answered. */
const maxAttempts = { reached: 7, unreached: 2 }
/** The pause before the second attempt, doubled for each attempt after it up to the last, in ms. */
const pauses = { first: 400, last: 20_000 }
/** The longest pause that the hub can ask for, in seconds. */
const longestAsked = 120

/** The error for a response with a status from 300, from the status and the hub's own error code. */
export function refusedBy(status: number, headers: Headers, what: Refusal, hasToken: boolean): Error {
  const { repo, revision = 'main', path } = what
  const code = String(headers['x-error-code'] ?? '')
  if (status === 429 || status === 408 || status >= 500) return new Busy(status, secondsOf(headers['retry-after']))
  if (code === 'GatedRepo' || status === 403)
    return new OrielError(
      hasToken ? 'forbidden' : 'unauthorized',
      hasToken
        ? `${repo} is gated, and your token has no access to it. Request access on the page of the repository.`
        : `${repo} is gated. Accept its terms on its page on the hub.`,
      { code: hasToken ? 'no_access' : 'token_needed' },
    )
  if (status === 401)
    return new OrielError(
      'unauthorized',
      hasToken
        ? `The hub does not accept your token for ${repo}: the token may have expired, or the repository does not exist.`
        : `The hub does not show ${repo} without a token: it does not exist, or it is private.`,
      { code: hasToken ? 'no_access' : 'token_needed' },
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
  /** The progress so far. An attempt that made progress does not count as failed. */
  progress: (() => number) | undefined
  /** Whether the host has answered anything before. If not, this machine is probably offline. */
  isReached(): boolean
}

/** Repeats an attempt that failed because of the network or a busy hub. @throws OrielError `timeout` after the last attempt */
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
      if (!(error instanceof Busy) && !trying.isReached()) {
        // A firewall that drops packets has taken long enough with one attempt.
        if (failed >= maxAttempts.unreached || reasonOf(error).endsWith('TIMEOUT'))
          throw unreachable(trying.host, error)
      }
      const why = error instanceof Busy ? error.message : `the connection was lost (${reasonOf(error)})`
      if (failed >= maxAttempts.reached)
        throw new OrielError(
          'timeout',
          `${trying.what.path ?? trying.what.repo} cannot be downloaded from ${trying.host}: ${why}, ${failed} times in a row. The downloaded part is kept: repeat the command to resume.`,
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

function unreachable(host: string, error: Error): OrielError {
  const reasons: Record<string, string> = {
    ENOTFOUND: 'its name is not known here',
    EAI_AGAIN: 'its name cannot be looked up',
    ECONNREFUSED: 'it refuses connections',
    UND_ERR_CONNECT_TIMEOUT: 'it does not answer',
  }
  const reason = reasonOf(error)
  return new OrielError('timeout', `${host} cannot be reached: ${reasons[reason] ?? reason}.`, {
    code: 'hub_unreachable',
    cause: error,
  })
}

/** Whether another attempt may succeed: after an error of the network it may, after a full disk it may not. */
const isPassing = (error: Error): boolean =>
  error instanceof Busy ||
  ('code' in error && typeof error.code === 'string' && network.test(error.code)) ||
  error.cause instanceof Error

const network = /^(UND_ERR|ECONN|EPIPE|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|HPE_|CUT)/

const reasonOf = (error: Error): string => ('code' in error ? String(error.code) : error.message)

/** `Retry-After` has seconds or a date. */
function secondsOf(value: string | string[] | undefined): number | null {
  if (typeof value !== 'string') return null
  const seconds = Number(value)
  const asked = Number.isNaN(seconds) ? (Date.parse(value) - Date.now()) / 1000 : seconds
  return Number.isNaN(asked) ? null : Math.max(0, asked)
}
