import type { FastifyReply, FastifyRequest } from 'fastify'
import type { z } from 'zod'
import { mayUse } from '../accounts/index.ts'
import type { NamedModel, Timings } from '../deployments/index.ts'
import { hopsIn } from '../via.ts'
import { within } from '../within.ts'
import {
  type AnswerServices,
  countPrompts,
  type PromptCounts,
  type RunningAnswer,
  startAnswers,
} from './answering/answer.ts'
import { type AnswerRequest, type ClientRequest, checkLength } from './answering/request.ts'
import { clientOf } from './client.ts'
import type { Endpoint, RequestContext, RouteOptions } from './dialects/dialect.ts'
import { logError, toOrielError } from './errors.ts'
import { describeAnswer, describeIgnored, describeTimings } from './headers.ts'
import { jsonPieces } from './json-pieces.ts'
import { admit, estimateOf, noTokens } from './metering.ts'
import { invalidValue, parseBody, unknownParameters } from './request/validation.ts'
import { takeOver, writePieces } from './sending.ts'
import { type Framing, sendEvents, sse } from './sse.ts'

export type Documentation = Pick<Endpoint, 'path' | 'tag' | 'summary' | 'transport' | 'takes' | 'otherType'>

interface Protocol<Body extends z.ZodObject, Answer extends z.ZodType> extends Documentation {
  body: Body
  answer: Answer
  /** One request for each prompt. @throws OrielError `invalid` */
  read(body: z.output<Body>, context: RequestContext): AnswerRequest[] | Promise<AnswerRequest[]>
}

/** A protocol that is told about a request without an answer to it, which is free. */
interface FreeProtocol<Body extends z.ZodObject, Answer extends z.ZodType> extends Protocol<Body, Answer> {
  tell(body: z.output<Body>, work: Work): Promise<z.output<Answer>>
}

/** One whose answer is so large that its JSON is made piece by piece, as the client reads it. */
interface LargeProtocol<Body extends z.ZodObject, Answer extends z.ZodType> extends Protocol<Body, Answer> {
  /** What it throws before the first piece has a status of its own. */
  pieces(body: z.output<Body>, work: Work): Promise<Iterable<string>>
}

interface CountProtocol<Body extends z.ZodObject, Answer extends z.ZodType> extends Protocol<Body, Answer> {
  counted(body: z.output<Body>, counts: PromptCounts): z.output<Answer> | Promise<z.output<Answer>>
}

type StreamableBody = z.ZodObject<{ stream: z.ZodType<boolean | null | undefined> }>

/** A protocol that asks a model. The compiler checks its bodies against the schemas of the OpenAPI document. */
export interface AnswerProtocol<Body extends StreamableBody, Answer extends z.ZodType, Event extends z.ZodType>
  extends Protocol<Body, Answer> {
  event: Event
  whole(
    answer: RunningAnswer,
    body: z.output<Body>,
    context: RequestContext,
    requests: readonly ClientRequest[],
  ): Promise<{ body: z.output<Answer>; timings: Timings }>
  events(answer: RunningAnswer, body: z.output<Body>, context: RequestContext): AsyncIterable<z.output<Event>>
  framing(context: RequestContext): Framing<z.output<Event>>
  /** What a request gets that wants no answer of the model, such as a count of its prompt. undefined: it wants one. */
  instead?(body: z.output<Body>): ((work: Work) => Promise<z.output<Answer>>) | undefined
  /** The requests that the model gets, if that depends on what it says about those that were read. @throws OrielError */
  expand?(body: z.output<Body>, work: Work): Promise<readonly ClientRequest[]>
}

/** What a request asks, and what does it. */
export interface Work {
  services: AnswerServices
  model: NamedModel
  requests: readonly ClientRequest[]
  /** Who asks. */
  client: string
  /** Aborts when the request is over. */
  signal: AbortSignal
}

/**
 * How long the status line of a stream may wait for the engine. The engine refuses bad requests when it admits them, and
 * until the stream begins an error can have its own status. ms
 */
const longestWait = 10_000

/** How long a client may read nothing of a large answer, in ms. It is all there, and others wait for its memory. */
const longestUnread = 20_000

export function answerEndpoint<Body extends StreamableBody, Answer extends z.ZodType, Event extends z.ZodType>(
  protocol: AnswerProtocol<Body, Answer, Event>,
): Endpoint {
  return { ...protocol, method: 'POST', handler: (options) => answering(protocol, options) }
}

const freeEndpoint = <Body extends z.ZodObject, Answer extends z.ZodType>(
  protocol: FreeProtocol<Body, Answer>,
): Endpoint => freely(protocol, (parsed, work) => protocol.tell(parsed, work))

export const largeEndpoint = <Body extends z.ZodObject, Answer extends z.ZodType>(
  protocol: LargeProtocol<Body, Answer>,
): Endpoint =>
  freely(protocol, async (parsed, work, reply) => {
    return sendLarge(reply, await protocol.pieces(parsed, work))
  })

/** Sends an answer as JSON: with log probabilities, or what it repeats of its request, it may have many megabytes. */
export function sendWhole(reply: FastifyReply, body: object): Promise<FastifyReply> | FastifyReply {
  const pieces = jsonPieces(body)
  const { value: first = '' } = pieces.next()
  const { value: second, done } = pieces.next()
  if (done) return reply.type('application/json; charset=utf-8').send(first)
  return sendLarge(reply, startingWith([first, second], pieces))
}

function* startingWith(first: readonly string[], rest: Iterable<string>): Iterable<string> {
  yield* first
  yield* rest
}

/** Sends JSON piece by piece. */
export async function sendLarge(reply: FastifyReply, pieces: Iterable<string>): Promise<FastifyReply> {
  const response = takeOver(reply.type('application/json; charset=utf-8'))
  await writePieces(response, pieces, longestUnread)
  response.end()
  return reply
}

/** An endpoint that generates nothing. @param respond sends the response, or returns what is to be sent */
function freely<Body extends z.ZodObject, Answer extends z.ZodType>(
  protocol: Protocol<Body, Answer>,
  respond: (parsed: z.output<Body>, work: Work, reply: FastifyReply) => Promise<unknown>,
): Endpoint {
  return {
    ...protocol,
    method: 'POST',
    handler: (options) => async (request, reply) => {
      const { services } = options
      const { parsed, context, requests, signal, name } = await readRequest(protocol, options, request, reply)
      const { model } = await admit(options, { request, reply, model: name, estimate: noTokens })
      return respond(parsed, { services, model, requests, client: context.client, signal }, reply)
    },
  }
}

export const countEndpoint = <Body extends z.ZodObject, Answer extends z.ZodType>({
  counted,
  ...protocol
}: CountProtocol<Body, Answer>): Endpoint =>
  freeEndpoint({
    ...protocol,
    tell: async (body, { model, requests, signal }) => counted(body, await countPrompts(model, requests, signal)),
  })

function answering<Body extends StreamableBody, Answer extends z.ZodType, Event extends z.ZodType>(
  protocol: AnswerProtocol<Body, Answer, Event>,
  options: RouteOptions,
) {
  const { services, log, watch } = options
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const arrived = performance.now()
    const { parsed, context, ignored, signal, name, ...read } = await readRequest(protocol, options, request, reply)
    const other = protocol.instead?.(parsed)
    const estimate = other === undefined ? estimateOf(read.requests) : noTokens
    const { meter, model } = await admit(options, { request, reply, model: name, estimate })
    const work = { services, model, requests: read.requests, client: context.client, signal }
    if (other !== undefined) return other(work)
    const requests = (await protocol.expand?.(parsed, work)) ?? read.requests
    if (requests !== read.requests) await meter.expect(estimateOf(requests))

    const starting = startAnswers(services, model, requests, signal, {
      phase: (phase) => meter.running.enter(phase),
      sent: (prompt) => meter.sent(prompt),
    }).then((answer) => {
      for (const place of answer.ignored ?? []) context.ignore(place, 'cannot be enforced')
      const watched = watch(answer, request)
      meter.watch(watched)
      return watched.running
    })
    if (!parsed.stream) {
      const answer = await starting
      const { body, timings } = await protocol.whole(answer, parsed, context, requests)
      describeAnswer(reply, answer, ignored, true)
      describeTimings(reply, timings, answer.media, arrived)
      return typeof body === 'object' && body !== null ? sendWhole(reply, body) : body
    }
    const early = await within(longestWait, starting)
    if (early !== undefined) describeAnswer(reply, early, ignored, false)
    const events = later(starting, (answer) => protocol.events(answer, parsed, context))
    const failure = await sendEvents(takeOver(reply), events, protocol.framing(context), protocol.transport ?? sse)
    if (failure !== undefined) {
      meter.failed(failure)
      logError(toOrielError(failure), request.id, log)
    }
    return reply
  }
}

/**
 * @returns what the request asks. The context adds to `ignored` later too.
 * @throws OrielError `invalid`
 */
async function readRequest<Body extends z.ZodObject, Answer extends z.ZodType>(
  { body, read }: Protocol<Body, Answer>,
  options: RouteOptions,
  request: FastifyRequest,
  reply: FastifyReply,
) {
  const { parsed, context, ignored, signal } = readParameters(body, options, request, reply)
  const requests = (await read(parsed, context)).map((read) => ({
    ...read,
    client: context.client,
    hops: hopsIn(request.headers.via),
    // Others must not learn from the time of an answer what an account has asked before.
    settings: {
      ...read.settings,
      isolation: [context.account, ...read.settings.isolation],
      affinity: read.settings.affinity ?? context.affinity,
    },
    knows: (id: string) => mayUse(request.identity, id),
  }))
  for (const one of requests) checkLength(one)
  describeIgnored(reply, ignored)
  return { parsed, context, ignored, requests, signal, name: requests[0]?.model ?? '' }
}

/**
 * The parameters of a request, and what surrounds them.
 * @throws OrielError `invalid`
 */
export function readParameters<Body extends z.ZodObject>(
  body: Body,
  options: RouteOptions,
  request: FastifyRequest,
  reply: FastifyReply,
) {
  const parsed = parseBody(body, request.body)
  const ignored = unknownParameters(body, parsed, options.strict)
  // The schema let them pass unchecked, so nothing behind it may see them.
  for (const name of ignored) Reflect.deleteProperty(parsed, name)
  return { parsed, ignored, context: contextOf(request, options, ignored), signal: whenClosed(reply) }
}

/** @param ignored receives what has no effect */
function contextOf(request: FastifyRequest, { dialect, strict, services }: RouteOptions, ignored: string[]) {
  const { 'x-prompt-cache-isolation-key': isolation, 'x-session-affinity': affinity } = request.headers
  const context: RequestContext = {
    dialect,
    isolationKey: typeof isolation === 'string' ? isolation : '',
    affinity: typeof affinity === 'string' && affinity !== '' ? affinity : null,
    requestId: request.id,
    client: clientOf(request),
    account: request.identity.account,
    sent: request.body,
    responses: services.responses,
    ignore(param, reason) {
      if (strict) throw invalidValue(param, `${param} ${reason}.`)
      ignored.push(param)
    },
  }
  return context
}

async function* later<Event>(
  starting: Promise<RunningAnswer>,
  events: (answer: RunningAnswer) => AsyncIterable<Event>,
): AsyncIterable<Event> {
  yield* events(await starting)
}

/** Aborts when the response is complete or the client has disconnected. */
function whenClosed(reply: FastifyReply): AbortSignal {
  const over = new AbortController()
  if (reply.raw.destroyed) over.abort()
  else reply.raw.once('close', () => over.abort())
  return over.signal
}
