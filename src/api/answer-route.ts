import type { FastifyReply, FastifyRequest } from 'fastify'
import type { z } from 'zod'
import type { Timings } from '../deployments/index.ts'
import type { Logger } from '../log.ts'
import type { RunningAnswer } from './answering/answer.ts'
import { type AnswerAccount, observed } from './answering/observe.ts'
import type { AnswerRooms } from './answering/prepare.ts'
import type { AnswerRequest } from './answering/request.ts'
import { countPrompts, type PromptCounts, startAnswers } from './answering/several.ts'
import { type Dialect, dialectOf } from './dialects.ts'
import { logError, toOrielError } from './errors.ts'
import { describeAnswer, describeTimings } from './headers.ts'
import { type Framing, sendEvents } from './sse.ts'
import { parseBody, unknownParameters } from './validation.ts'

/** What a request says besides its body. */
export interface RequestContext {
  dialect: Dialect
  /** Of the header `x-prompt-cache-isolation-key`: prefixes are only shared within one. */
  isolationKey: string
  requestId: string
}

/** One way to have a prompt counted: all that a dialect has of its own. */
export interface CountEndpoint<Schema extends z.ZodObject> {
  schema: Schema
  /** One request for each prompt. */
  read(body: z.output<Schema>, context: RequestContext): AnswerRequest[]
  counted(body: z.output<Schema>, counts: PromptCounts): object | Promise<object>
}

/** One way to ask a model, and to be answered. */
export interface AnswerEndpoint<Schema extends z.ZodObject> extends Omit<CountEndpoint<Schema>, 'counted'> {
  streams(body: z.output<Schema>): boolean
  whole(answer: RunningAnswer, body: z.output<Schema>): Promise<Whole>
  events(answer: RunningAnswer, body: z.output<Schema>): AsyncIterable<object>
  framing(context: RequestContext): Framing
  /** The answer where the prompt is only to be counted. */
  dryRun?: { wanted(body: z.output<Schema>): boolean; counted: CountEndpoint<Schema>['counted'] }
}

interface Whole {
  body: object
  timings: Timings | undefined
}

export interface RouteOptions {
  rooms: AnswerRooms
  /** Whether parameters that mean nothing here are refused. */
  strict: boolean
  log: Logger
  /** Told what each answer took. */
  tell(account: AnswerAccount, requestId: string): void
}

/**
 * A stream begins when the engine has taken the request in, so that whatever is wrong has a status of its own; but no
 * reader waits longer than this for its first byte. ms
 */
const patience = 10_000

export function answerRoute<Schema extends z.ZodObject>(endpoint: AnswerEndpoint<Schema>, options: RouteOptions) {
  const { rooms, log, tell } = options
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const arrived = performance.now()
    const { body, context, requests, signal } = readRequest(endpoint, options, request, reply)
    const { dryRun } = endpoint
    if (dryRun?.wanted(body)) return dryRun.counted(body, await countPrompts(rooms, requests, signal))

    const starting = startAnswers(rooms, requests, signal).then((answer) =>
      observed(answer, (account) => tell(account, request.id)),
    )
    if (!endpoint.streams(body)) {
      const answer = await starting
      describeAnswer(reply, answer)
      const whole = await endpoint.whole(answer, body)
      if (whole.timings !== undefined) describeTimings(reply, whole.timings, answer.media, arrived)
      return whole.body
    }
    const early = await within(patience, starting)
    if (early !== undefined) describeAnswer(reply, early)
    reply.hijack()
    for (const [name, value] of Object.entries(reply.getHeaders()))
      if (value !== undefined) reply.raw.setHeader(name, value)
    const failure = await sendEvents(reply.raw, later(starting, endpoint, body), endpoint.framing(context))
    if (failure !== undefined) logError(toOrielError(failure), request.id, log)
    return reply
  }
}

export function countRoute<Schema extends z.ZodObject>(endpoint: CountEndpoint<Schema>, options: RouteOptions) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const { body, requests, signal } = readRequest(endpoint, options, request, reply)
    return endpoint.counted(body, await countPrompts(options.rooms, requests, signal))
  }
}

/** @throws OrielError `invalid` */
function readRequest<Schema extends z.ZodObject>(
  { schema, read }: Pick<CountEndpoint<Schema>, 'schema' | 'read'>,
  { strict }: RouteOptions,
  request: FastifyRequest,
  reply: FastifyReply,
) {
  const body = parseBody(schema, request.body)
  const ignored = unknownParameters(schema, body, strict)
  // Nothing has looked at them, and nobody shall take them for parsed.
  for (const name of ignored) Reflect.deleteProperty(body, name)
  if (ignored.length > 0)
    reply.header(
      'x-oriel-ignored-parameters',
      ignored.map((name) => encodeURIComponent(name.toWellFormed())).join(', '),
    )
  const context = contextOf(request)
  return { body, context, requests: read(body, context), signal: whenClosed(reply) }
}

function contextOf(request: FastifyRequest): RequestContext {
  const isolation = request.headers['x-prompt-cache-isolation-key']
  return {
    dialect: dialectOf(request.url),
    isolationKey: typeof isolation === 'string' ? isolation : '',
    requestId: request.id,
  }
}

async function* later<Schema extends z.ZodObject>(
  starting: Promise<RunningAnswer>,
  endpoint: AnswerEndpoint<Schema>,
  body: z.output<Schema>,
) {
  yield* endpoint.events(await starting, body)
}

/** @returns undefined when the promise takes longer. ms */
async function within<T>(time: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), time)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** Aborts at the end of the request: its answer is complete, or the client went away. */
function whenClosed(reply: FastifyReply): AbortSignal {
  const over = new AbortController()
  reply.raw.once('close', () => over.abort())
  return over.signal
}
