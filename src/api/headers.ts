import type { FastifyReply } from 'fastify'
import type { Kind, Rates } from '../accounts/index.ts'
import type { MediaTimings, Timings } from '../deployments/index.ts'
import type { RunningAnswer } from './answering/answer.ts'
import type { Dialect } from './dialects/dialect.ts'
import { seconds } from './shapes/usage.ts'

/** For browsers: what a server answers is neither shown as a page, nor run, nor embedded by pages of others. */
const dataOnly = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
}

/** Headers of every response. */
export function describeRequest(reply: FastifyReply, requestId: string, { headers }: Dialect): void {
  reply.headers({ 'x-request-id': requestId, ...dataOnly, ...headers?.(requestId) })
}

/** Names that the header of ignored parameters has, and the characters of each. Clients refuse headers of many kilobytes. */
const mostIgnored = { names: 20, characters: 100 }

/** Names the parameters that were ignored: `a, b, and 300 more`. */
export function describeIgnored(reply: FastifyReply, names: readonly string[]): void {
  if (names.length === 0) return
  const shown = names.slice(0, mostIgnored.names).map(encoded)
  const more = names.length - shown.length
  reply.header('x-oriel-ignored-parameters', [shown, more > 0 ? `and ${more} more` : []].flat().join(', '))
}

/** A name as a header may have it. A long one is cut. */
function encoded(name: string): string {
  let text = ''
  for (const character of name.toWellFormed()) {
    const more = '[]'.includes(character) ? character : encodeURIComponent(character)
    if (text.length + more.length > mostIgnored.characters) return `${text}...`
    text += more
  }
  return text
}

/** What follows `x-ratelimit-limit-` and `x-ratelimit-remaining-`, by the names that Fireworks and OpenAI give them. */
const rateNames: Record<Kind, string> = {
  requests: 'requests',
  tokens: 'tokens',
  promptTokens: 'tokens-prompt',
  cacheAdjustedPromptTokens: 'tokens-cache-adjusted-prompt',
  generatedTokens: 'tokens-generated',
  images: 'images',
}

/** The limits of an account for a model, and what is left of them. */
export function describeRates(reply: FastifyReply, { limits, isOver }: Rates): void {
  const limited = Object.entries(rateNames) as [Kind, string][]
  for (const [kind, name] of limited) {
    const rate = limits[kind]
    if (rate === undefined) continue
    reply.header(`x-ratelimit-limit-${name}`, String(rate.limit))
    reply.header(`x-ratelimit-remaining-${name}`, String(rate.remaining))
  }
  if (Object.keys(limits).length > 0) reply.header('x-ratelimit-over-limit', isOver ? 'yes' : 'no')
}

/**
 * Headers that are known when an answer begins, by the names that Fireworks gives them. Every dialect sends them.
 * @param isComplete whether the answer has ended: an upstream tells its usage only then
 */
export function describeAnswer(
  reply: FastifyReply,
  { usage, sampling, isCold, loadMs, upstream }: RunningAnswer,
  ignored: readonly string[],
  isComplete: boolean,
): void {
  describeIgnored(reply, ignored)
  if (isCold) describeColdStart(reply, loadMs)
  if (isComplete || upstream === undefined) {
    reply.header('fireworks-prompt-tokens', String(usage.promptTokens))
    reply.header('fireworks-cached-prompt-tokens', String(usage.cachedTokens))
  }
  const options = {
    temperature: sampling.temperature,
    top_p: sampling.topP,
    top_k: sampling.topK,
    min_p: sampling.minP,
    typical_p: sampling.typicalP,
    mirostat_target: sampling.mirostat?.target ?? 0,
    repetition_penalty: sampling.repetitionPenalty,
    frequency_penalty: sampling.frequencyPenalty,
    presence_penalty: sampling.presencePenalty,
    seed: sampling.seed,
  }
  reply.header('fireworks-sampling-options', JSON.stringify(options))
}

/** How long a request waited for its model to be loaded. @param ms without the request's own work */
export const describeColdStart = (reply: FastifyReply, ms: number): void =>
  void reply.header('x-oriel-cold-start', String(Math.round(ms)))

/** Headers of a complete answer. @param arrived when the request arrived, by `performance.now()` */
export function describeTimings(reply: FastifyReply, timings: Timings, media: MediaTimings, arrived: number): void {
  const total = performance.now() - arrived
  reply.header('fireworks-server-time-to-first-token', seconds(media.media + timings.firstToken))
  reply.header('fireworks-server-processing-time', seconds(total))
  const { queue, encode, prefill, generation } = timings
  const phases = Object.entries({ ...media, queue, encode, prefill, generation, total })
  reply.header('server-timing', phases.map(([name, ms]) => `${name};dur=${ms.toFixed(1)}`).join(', '))
}
