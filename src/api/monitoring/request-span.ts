import type { FastifyRequest } from 'fastify'
import type { Span } from '../../telemetry/index.ts'
import { promptKinds } from '../shapes/usage.ts'
import type { EmbeddedWork } from './metrics.ts'
import type { WatchedAnswer } from './watched-answer.ts'

/** A response that is over. */
export interface Finished {
  readonly request: FastifyRequest
  /** 499: the client left. */
  readonly status: number
  /** Duration in ms. */
  readonly ms: number
  readonly watched: WatchedAnswer | undefined
  readonly embedded: EmbeddedWork | undefined
}

/**
 * A request as a span, with a child for each phase. The names of attributes are those of the semantic conventions for HTTP
 * and for generative AI, and otherwise begin with `oriel.`. Nothing in it is a client's text, except for its request id.
 */
export function requestSpan({ request, status, ms, watched, embedded }: Finished): Span {
  const now = performance.now()
  // Spans have the time of day.
  const offset = Date.now() - now
  const route = request.routeOptions.url ?? ''
  const failure = watched?.failure ?? (status >= 500 ? String(status) : undefined)
  const work = watched ? ofAnswer(watched, offset) : embedded && ofTexts(embedded, offset + now - ms)
  return {
    name: work?.name ?? `${request.method} ${route}`,
    start: offset + now - ms,
    end: offset + now,
    failure,
    attributes: {
      'http.request.method': request.method,
      'http.route': route,
      'http.response.status_code': status,
      'oriel.request.id': request.id,
      ...(failure !== undefined && { 'error.type': failure }),
      ...work?.attributes,
    },
    children: work?.children ?? [],
  }
}

/** What a model did for a request. */
type Work = Pick<Span, 'name' | 'attributes'> & Required<Pick<Span, 'children'>>

const ofAnswer = (watched: WatchedAnswer, offset: number): Work => ({
  name: `${watched.answer.operation} ${watched.answer.servedBy}`,
  attributes: attributesOf(watched),
  children: phasesOf(watched, offset),
})

/** @param start of the request, in ms since 1970 */
function ofTexts({ model, texts, promptTokens, dimensions, ms, loadMs }: EmbeddedWork, start: number): Work {
  const operation = 'embeddings'
  return {
    name: `${operation} ${model}`,
    attributes: {
      ...modelOf(operation, model),
      'gen_ai.usage.input_tokens': promptTokens,
      'gen_ai.embeddings.dimension.count': dimensions,
      'oriel.usage.texts': texts,
    },
    children: [
      ...(loadMs > 0 ? [{ name: 'load', start, end: start + loadMs, attributes: {} }] : []),
      { name: 'embed', start: start + loadMs, end: start + ms, attributes: {} },
    ],
  }
}

/** A client may call the model by another name, with words of its own in it. */
const modelOf = (operation: string, model: string): Span['attributes'] => ({
  'gen_ai.operation.name': operation,
  'gen_ai.provider.name': 'oriel',
  'gen_ai.request.model': model,
  'gen_ai.response.model': model,
})

function attributesOf({ answer, tally, completionTokens, endings }: WatchedAnswer): Span['attributes'] {
  const { operation, servedBy, usage } = answer
  const { cachedTokens, imageTokens, videoTokens, audioTokens, images } = promptKinds(usage)
  return {
    ...modelOf(operation, servedBy),
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
