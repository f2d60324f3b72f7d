import type { FastifyRequest, RouteHandlerMethod } from 'fastify'
import type { z } from 'zod'
import type { Scope } from '../../accounts/index.ts'
import type { Settings } from '../../deployments/index.ts'
import type { ErrorKind, OrielError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { AnswerServices, RunningAnswer } from '../answering/answer.ts'
import type { EngineStates } from '../engine-states.ts'
import type { Activity } from '../monitoring/activity.ts'
import type { EmbeddedWork } from '../monitoring/metrics.ts'
import type { WatchedAnswer } from '../monitoring/watched-answer.ts'
import type { ResponseStore } from '../responses/store.ts'

/**
 * The API of one provider, as its clients know it. A dialect adds what is its own (URLs, errors, headers, defaults) to
 * protocols, which are the folders beside this one (`chat`, `completions`, `responses`, `messages`, `ollama`,
 * `embeddings`, `transcriptions`, `models`, `counting`, `usage`): a protocol is one kind of request with its answer, and several dialects speak the same one.
 */
export interface Dialect {
  /** The provider's name, for the documentation. */
  title: string
  /**
   * URL prefixes of the endpoints. Dialects may share one if their endpoints differ. A URL that is no endpoint belongs to
   * the nearest endpoint or base above it, and a shared base to the first dialect of the registry that has it.
   */
  bases: readonly string[]
  endpoints: readonly Endpoint[]
  errors: ErrorFormat
  /** A request header by which its clients are known, at endpoints that it shares with other dialects too. */
  marker?: string
  /** Whether bodies are JSON whatever their `content-type` says. */
  readsAnyType?: boolean
  /** Headers of every response in addition to the common ones. */
  headers?(requestId: string): Record<string, string>
  defaults: Defaults
}

/** Settings of a request that does not give its own. */
interface Defaults {
  /** What to do when the prompt and `max_tokens` together exceed the context. */
  overflow: Settings['overflow']
  /** `max_tokens` of the completions protocol. null: to the end of the context. */
  completionTokens: number | null
  /** Whether `max_tokens` of the messages protocol must be given. */
  requiresMaxTokens?: boolean
}

export interface ErrorFormat<Body extends z.ZodObject = z.ZodObject> {
  /** HTTP statuses that differ from the usual ones. */
  statuses?: Partial<Record<ErrorKind, number>>
  schema: Body
  body(error: OrielError, requestId: string): z.output<Body>
}

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/** One URL below the bases of a dialect: how it is served and what the OpenAPI document says about it. */
export interface Endpoint {
  method: Method
  /** In the syntax of OpenAPI: `/models/{model}`. */
  path: string
  /** In the syntax of the router, if that differs. */
  pattern?: string
  /** Whether the OpenAPI document leaves it out. */
  isHidden?: boolean
  /** Group in the documentation. */
  tag: string
  summary: string
  /** What a key must be for; null: anyone may ask. Default: `inference`. */
  scope?: Scope | null
  body?: z.ZodObject
  /**
   * What the body is if not JSON: `multipart/form-data`; the same with a file that may be larger than memory, which the handler
   * reads as it arrives; or bytes of any type, which the handler reads, too.
   */
  takes?: 'form' | 'arriving-form' | 'bytes'
  query?: readonly { name: string; description: string }[]
  /** null: a status without a body, or a stream only. */
  answer: z.ZodType | null
  /** Another type that the answer may have, if a client asks for it. */
  otherType?: string
  /** One event of the stream, if the answer can be streamed. */
  event?: z.ZodType
  /** Of the stream. Default: server-sent events. */
  transport?: Transport
  handler(options: RouteOptions): RouteHandlerMethod
}

/** What carries a stream. */
export interface Transport {
  contentType: string
  /** What is sent in a silence, so that proxies do not close the connection; null: clients would read it as an event. */
  idle: string | null
}

export interface RouteOptions {
  dialect: Dialect
  services: AnswerServices
  /** Whether unknown parameters are refused. */
  strict: boolean
  log: Logger
  activity: Activity
  engines: EngineStates
  /** Aborts when the server begins to close. */
  closing: AbortSignal
  /** Lets a request in once more: one that goes on for long. @throws OrielError if its key may no longer ask this */
  enter(request: FastifyRequest): Promise<void>
  /** The answer, seen to its end for metrics, traces and the log. */
  watch(answer: RunningAnswer, request: FastifyRequest): WatchedAnswer
  /** Tells metrics, the log and traces of a request whose texts were embedded. */
  embedded(work: EmbeddedWork, request: FastifyRequest): void
}

/** What a request says besides its body. */
export interface RequestContext {
  dialect: Dialect
  /** The header `x-prompt-cache-isolation-key`: cached prompts are shared within one key. */
  isolationKey: string
  /** The header `x-session-affinity`: requests with an equal one go to one engine. */
  affinity: string | null
  requestId: string
  /** Who sends it, by `clientOf`. */
  client: string
  /** Whose key it has. */
  account: string
  /** The body as it was sent. Its schema has checked it, and made something else of some parts. */
  sent: unknown
  responses: ResponseStore
  /**
   * Notes a part of the request that has no effect, which a header of the response names.
   * @param reason a predicate: `is not offered to the model`
   * @throws OrielError `invalid` if the server is strict
   */
  ignore(param: string, reason: string): void
}
