import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Timings } from '../deployments/index.ts'
import type { RunningAnswer } from './answering/answer.ts'
import type { MediaTimings } from './answering/prepare.ts'
import { dialectOf } from './dialects.ts'

/** The request's id, by the names that clients look for it under. */
export function describeRequest({ id, url }: FastifyRequest, reply: FastifyReply): void {
  reply.header('x-request-id', id)
  if (dialectOf(url) === 'anthropic') reply.header('request-id', id)
}

/** Fireworks' headers that are known when an answer begins. */
export function describeAnswer(reply: FastifyReply, { usage, sampling }: RunningAnswer): void {
  reply.header('fireworks-prompt-tokens', String(usage.promptTokens))
  reply.header('fireworks-cached-prompt-tokens', String(usage.cachedTokens))
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

/** And those of an answer that is over. Fireworks counts in seconds, Server-Timing in ms. */
export function describeTimings(reply: FastifyReply, timings: Timings, media: MediaTimings, arrived: number): void {
  const total = performance.now() - arrived
  reply.header('fireworks-server-time-to-first-token', seconds(media.media + timings.firstToken))
  reply.header('fireworks-server-processing-time', seconds(total))
  const { queue, encode, prefill, generation } = timings
  const phases = Object.entries({ ...media, queue, encode, prefill, generation, total })
  reply.header('server-timing', phases.map(([name, ms]) => `${name};dur=${ms.toFixed(1)}`).join(', '))
}

/** The same in the body of an answer: `perf_metrics`. */
export function performanceOf({ usage, media }: RunningAnswer, timings: Timings): Record<string, string> {
  return {
    'prompt-tokens': String(usage.promptTokens),
    'cached-prompt-tokens': String(usage.cachedTokens),
    'server-time-to-first-token': seconds(media.media + timings.firstToken),
    'server-processing-time': seconds(media.media + timings.firstToken + timings.generation),
    'prefill-queue-duration': seconds(timings.queue),
    'prefill-duration': seconds(timings.prefill),
    'generation-duration': seconds(timings.generation),
    'image-encode-duration': seconds(timings.encode),
  }
}

const seconds = (ms: number): string => (ms / 1000).toFixed(4)
