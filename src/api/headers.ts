import type { FastifyReply } from 'fastify'
import type { MediaTimings, Timings } from '../deployments/index.ts'
import type { RunningAnswer } from './answering/answer.ts'
import type { Dialect } from './dialects/dialect.ts'
import { seconds } from './shapes/usage.ts'

/** Headers of every response. */
export function describeRequest(reply: FastifyReply, requestId: string, { headers }: Dialect): void {
  reply.headers({ 'x-request-id': requestId, ...headers?.(requestId) })
}

/** Headers that are known when an answer begins, by the names that Fireworks gives them. Every dialect sends them. */
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

/** Headers of a complete answer. @param arrived when the request arrived, by `performance.now()` */
export function describeTimings(reply: FastifyReply, timings: Timings, media: MediaTimings, arrived: number): void {
  const total = performance.now() - arrived
  reply.header('fireworks-server-time-to-first-token', seconds(media.media + timings.firstToken))
  reply.header('fireworks-server-processing-time', seconds(total))
  const { queue, encode, prefill, generation } = timings
  const phases = Object.entries({ ...media, queue, encode, prefill, generation, total })
  reply.header('server-timing', phases.map(([name, ms]) => `${name};dur=${ms.toFixed(1)}`).join(', '))
}
