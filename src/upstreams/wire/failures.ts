import { z } from 'zod'
import { type ErrorDetails, type ErrorKind, OrielError } from '../../errors.ts'
import { parseJson } from '../../json.ts'
import { AttemptFailed, type FailureDetails } from '../attempt-failed.ts'
import type { Received } from '../target.ts'
import { bytesOf } from './whole-body.ts'

/** Bytes of an error that are read. */
const mostBytes = 64 * 1024

/** What a status that is no success means. It ends the answer. */
export async function failureOf({ status, headers, body }: Received): Promise<AttemptFailed> {
  const bytes = await bytesOf(body, mostBytes).catch((error: unknown) => {
    // What matters is the status; but a client that left is gone.
    if (error instanceof OrielError) throw error
    return Buffer.alloc(0)
  })
  const told = parseJson(bytes.toString('utf8'))
  return failureWith(status, sentenceIn(told), retryAfterMs(headers), isTooLong(told))
}

/** An error that an upstream reports in its stream. @param error as it came, with a status, a type, or neither */
export function reportedFailure(error: unknown): AttemptFailed {
  const { code, status, type = '' } = reported.parse(error)
  const told = [code, status].find((value) => typeof value === 'number' && value >= 400 && value < 600)
  return failureWith(Number(told ?? statuses[type] ?? 500), sentenceIn({ error }), null, isTooLong({ error }))
}

const reported = z
  .object({
    code: z.unknown().optional(),
    status: z.unknown().optional(),
    type: z.string().optional().catch(undefined),
  })
  .catch({})

/** Statuses of Anthropic's and OpenAI's types of errors. */
const statuses: Readonly<Record<string, number>> = {
  ...{ invalid_request_error: 400, BadRequestError: 400, authentication_error: 401, permission_error: 403 },
  ...{ not_found_error: 404, request_too_large: 413, rate_limit_error: 429, overloaded_error: 529 },
}

/** An answer that is not what its API says. @param what was found, for the log */
export const unreadable = (what: string): AttemptFailed =>
  failed(
    'upstream_unreadable',
    'answered in a form that is not that of its API',
    { elsewhere: true, isFault: true },
    what,
  )

/** An answer that ends before its end. */
export const brokeOff = (): AttemptFailed =>
  failed('upstream_broke_off', 'broke its answer off', { elsewhere: true, isFault: true })

const failed = (code: string, what: string, details: FailureDetails, cause?: string) =>
  new AttemptFailed(
    new OrielError('engine_failed', `This model's server ${what}.`, {
      code,
      ...(cause === undefined ? {} : { cause: new Error(cause) }),
    }),
    details,
  )

const usualRestMs = 1000

/**
 * @param waitMs how long the upstream wants to be left alone; null: it does not say
 * @param tooLong whether it says that the prompt is too long for the model
 */
function failureWith(status: number, sentence: string | null, waitMs: number | null, tooLong: boolean): AttemptFailed {
  const refusal = (kind: ErrorKind, details: ErrorDetails = {}) =>
    new AttemptFailed(
      new OrielError(kind, `This model's server refused the request${sentence === null ? '.' : `: ${sentence}`}`, {
        code: 'refused_upstream',
        ...details,
      }),
      { elsewhere: false, isFault: false },
    )
  const busy = () => {
    const retryAfterMs = waitMs ?? usualRestMs
    const retryAfter = Math.max(1, Math.ceil(retryAfterMs / 1000))
    return new AttemptFailed(
      new OrielError('overloaded', "This model's server is at its limit. Try again later.", {
        code: 'upstream_busy',
        retryAfter,
      }),
      { elsewhere: true, isFault: false, retryAfterMs, isGuess: waitMs === null },
    )
  }
  const refusesUs = () =>
    failed('upstream_not_available', 'is not available', faulty, `status ${status}: ${sentence ?? 'no reason'}`)
  switch (status) {
    // The upstream refuses this server, not the client: its key is wrong, or not paid for.
    case 401:
    case 402:
    case 403:
    case 407:
    // Fireworks says so that an account is suspended.
    case 412:
      return refusesUs()
    case 404:
    case 405:
    case 410:
      return failed(
        'upstream_lacks_model',
        'does not have it at present',
        faulty,
        `status ${status}: ${sentence ?? 'no reason'}`,
      )
    case 413:
      return refusal('too_large')
    case 429:
    case 529:
      return busy()
    case 500:
      // Engines answer so to requests that they do not understand: others would do the same.
      return failed('upstream_failed', 'failed', { elsewhere: false, isFault: false })
    case 501:
      return refusal('not_implemented')
    case 503:
      if (waitMs !== null || /busy|overload|capacity|loading|queue/i.test(sentence ?? '')) return busy()
      return failed('upstream_not_available', 'is not available', faulty)
    default:
      // Anthropic calls it a wrong request that nobody has paid.
      if (/credit balance is too low/i.test(sentence ?? '')) return refusesUs()
      if (status >= 500 || status < 400 || status === 408)
        return failed('upstream_not_available', 'is not available', faulty)
      return tooLong ? refusal('invalid', { param: 'prompt', code: 'context_length_exceeded' }) : refusal('invalid')
  }
}

const faulty: FailureDetails = { elsewhere: true, isFault: true }

/** Some say it by a code, others only in a sentence. */
const lengthCodes = ['context_length_exceeded', 'exceed_context_size_error']
const coded = z.object({ error: z.object({ code: z.unknown().optional(), type: z.unknown().optional() }) })

function isTooLong(told: unknown): boolean {
  const { code, type } = coded.safeParse(told).data?.error ?? {}
  if ([code, type].some((one) => typeof one === 'string' && lengthCodes.includes(one))) return true
  return /(context (length|size|window)|prompt is too long|maximum (model|input) length)/i.test(sentenceIn(told) ?? '')
}

/** In ms, at most ten minutes; null: the upstream does not say. */
function retryAfterMs(headers: Received['headers']): number | null {
  const [exact, seconds] = [headers['retry-after-ms'], headers['retry-after']].map((value) => [value].flat()[0])
  const ms = exact !== undefined ? Number(exact) : Number(seconds) * 1000 || Date.parse(seconds ?? '') - Date.now()
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), 600_000) : null
}

const text = z.string().min(1)

/** Errors as the APIs have them. The first form that fits has the sentence. */
const forms = [
  z.object({ error: z.object({ message: text }) }).transform(({ error }) => error.message),
  z.object({ error: text }).transform(({ error }) => error),
  z.object({ message: text }).transform(({ message }) => message),
  z.object({ detail: text }).transform(({ detail }) => detail),
  z
    .object({
      detail: z.array(z.object({ loc: z.array(z.union([z.string(), z.number()])).default([]), msg: text })).min(1),
    })
    .transform(({ detail: [first] }) => (first === undefined ? '' : `${first.loc.slice(1).join('.')}: ${first.msg}`)),
] as const

function sentenceIn(body: unknown): string | null {
  for (const form of forms) {
    const found = form.safeParse(body)
    if (found.success) return cleaned(found.data)
  }
  return null
}

/** What may tell of the inside of a network: URLs, hosts with ports, addresses, paths, and what looks like a key. */
const inner = [
  /\b(data:|[a-z][a-z0-9+.-]{1,20}:\/\/)\S+/gi,
  /\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b/g,
  /\[?[0-9a-f]{0,4}(:[0-9a-f]{0,4}){2,7}\]?(:\d+)?/gi,
  /\b[a-z0-9-]+(\.[a-z0-9-]+)*:\d{2,5}\b/gi,
  /\b[a-z0-9-]+(\.[a-z0-9-]+)*\.(local|internal|lan|svc|cluster|corp|home|intranet)\b\S*/gi,
  /([A-Za-z]:)?[\\/][\w.-]+([\\/][\w.-]+)+/g,
  /\b(sk|fw|key|ork|hf)[-_][\w-]{6,}/gi,
  /\b[\w-]{40,}\b/g,
]

/** Characters of a sentence that clients read. */
const mostCharacters = 400

/** An upstream's sentence without what is nobody's business, in one line. */
export function cleaned(sentence: string): string {
  const line = sentence
    .slice(0, 4 * mostCharacters)
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trim()
  const clean = inner.reduce((words, pattern) => words.replace(pattern, '…'), line)
  return clean.length > mostCharacters ? `${clean.slice(0, mostCharacters)}…` : clean
}
