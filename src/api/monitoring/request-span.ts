import type { FastifyRequest } from 'fastify'
import type { Span } from '../../telemetry/index.ts'
import { promptKinds } from '../shapes/usage.ts'
import type { WatchedAnswer } from './watched-answer.ts'

/** A response that is over. */
export interface Finished {
  readonly request: FastifyRequest
  /** 499: the client left. */
  readonly status: number
  /** Duration in ms. */
  readonly ms: number
  readonly watched: WatchedAnswer | undefined
}

/**
 * A request as a span, with a child for each phase. The names of attributes are those of the semantic conventions for HTTP
 * and for generative AI, and otherwise begin with `oriel.`. Nothing in it is a client's text, except for its request id.
 */
export function requestSpan({ request, status, ms, watched }: Finished): Span {
  const now = performance.now()
  // Spans have the time of day.
  const offset = Date.now() - now
  const route = request.routeOptions.url ?? ''
  const failure = watched?.failure ?? (status >= 500 ? String(status) : undefined)
  return {
    name: watched === undefined ? `${request.method} ${route}` : nameOf(watched),
    start: offset + now - ms,
    end: offset + now,
    failure,
    attributes: {
      'http.request.method': request.method,
      'http.route': route,
      'http.response.status_code': status,
      'oriel.request.id': request.id,
      ...(failure !== undefined && { 'error.type': failure }),
      ...(watched && attributesOf(watched)),
    },
    children: watched === undefined ? [] : phasesOf(watched, offset),
  }
}

const nameOf = ({ answer: { operation, servedBy } }: WatchedAnswer): string => `${operation} ${servedBy}`

function attributesOf({ answer, tally, completionTokens, endings }: WatchedAnswer): Span['attributes'] {
  const { operation, servedBy, usage } = answer
  const { cachedTokens, imageTokens, videoTokens, audioTokens, images } = promptKinds(usage)
  return {
    'gen_ai.operation.name': operation,
    'gen_ai.provider.name': 'oriel',
    // A client may call the model by another name, with words of its own in it.
    'gen_ai.request.model': servedBy,
    'gen_ai.response.model': servedBy,
    'gen_ai.response.finish_reasons': [...endings],
    'gen_ai.usage.input_tokens': usage.promptTokens,
    'gen_ai.usage.output_tokens': completionTokens,
    'gen_ai.usage.cache_read.input_tokens': cachedTokens,
    ...(tally && { 'gen_ai.usage.reasoning.output_tokens': tally.reasoningTokens }),
    'oriel.usage.images': images,
    'oriel.usage.image_tokens': imageTokens,
    'oriel.usage.video_tokens': videoTokens,
    'oriel.usage.audio_tokens': audioTokens,
  }
}

/** Images may be encoded while the request waits in the queue, and while the text before them is computed. */
function phasesOf({ answer, tally, duration = 0 }: WatchedAnswer, offset: number): Span[] {
  const { began, loadMs, media } = answer
  const phase = (name: string, start: number, ms: number, attributes: Span['attributes'] = {}): Span[] =>
    ms > 0 ? [{ name, start: offset + start, end: offset + start + ms, attributes }] : []
  const before = [
    ...phase('load', began, loadMs),
    ...phase('media', began + loadMs, media.media, {
      'oriel.media.fetch.seconds': media.fetch / 1000,
      'oriel.media.decode.seconds': media.decode / 1000,
    }),
  ]
  if (tally === undefined) return before
  const { queue, encode, encodeStart = queue, prefill, generation } = tally.timings
  // News of the engine take a moment: of two that tell when it began, the earlier is nearer.
  const admitted = Math.min(answer.admitted, began + duration - generation - prefill)
  return [
    ...before,
    ...phase('queue', admitted - queue, queue),
    ...phase('encode', admitted - queue + encodeStart, encode),
    ...phase('prefill', admitted, prefill),
    ...phase('generation', admitted + prefill, generation),
  ]
}
