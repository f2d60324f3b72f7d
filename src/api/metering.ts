import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Accounts, type Estimate, RateLimitError, type Reservation } from '../accounts/index.ts'
import type { Deployments, NamedModel, PromptUsage } from '../deployments/index.ts'
import { type SentPrompt, usageOfAll } from './answering/answer.ts'
import type { AnswerRequest } from './answering/request.ts'
import type { Dialect, RouteOptions } from './dialects/dialect.ts'
import { statusOf, toOrielError } from './errors.ts'
import { describeRates } from './headers.ts'
import { ownerOf, ownModel } from './models/listed.ts'
import type { Activity, AskedRequest, RunningRequest } from './monitoring/activity.ts'
import type { WatchedAnswer } from './monitoring/watched-answer.ts'
import { promptKinds } from './shapes/usage.ts'

/** Tokens of an answer whose length the request leaves open. What it takes in the end is counted in any case. */
const usualAnswer = 1024
/** An estimate that is too high refuses requests that would be allowed: English has more characters in a token. */
const charactersPerToken = 4
/** Of an attachment: few models take less. A video is some frames, audio some seconds. */
const tokensPer = { image: 64, video: 256, audio: 64 } as const

/** What counts and loads take: each is a request, and no more. */
export const noTokens: Estimate = { promptTokens: 0, generatedTokens: 0, images: 0 }

/** What requests take by their text, before a model has read them. */
export function estimateOf(requests: readonly AnswerRequest[]): Estimate {
  const estimate = { promptTokens: 0, generatedTokens: 0, images: 0 }
  for (const { prompt, attachments, settings } of requests) {
    estimate.images += attachments.filter(({ kind }) => kind === 'image').length
    const attached = attachments.reduce((sum, { kind }) => sum + tokensPer[kind], 0)
    estimate.promptTokens += Math.floor(lengthOf(prompt) + attached)
    estimate.generatedTokens += settings.n * (settings.maxTokens ?? usualAnswer)
  }
  return estimate
}

/** In tokens, by estimate, without the attachments. */
function lengthOf(prompt: AnswerRequest['prompt']): number {
  const parts = prompt.kind === 'chat' ? prompt.messages.flatMap(({ content }) => content) : prompt.parts
  let tokens = 0
  for (const part of parts)
    if (part.kind === 'text') tokens += part.text.length / charactersPerToken
    else if (part.kind === 'tokens') tokens += part.tokens.length
  return tokens
}

/** What texts to embed take. */
export function estimateOfTexts(texts: readonly (string | readonly number[])[]): Estimate {
  const promptTokens = texts.reduce(
    (sum, { length }, at) => sum + (typeof texts[at] === 'string' ? length / charactersPerToken : length),
    0,
  )
  return { promptTokens: Math.floor(promptTokens), generatedTokens: 0, images: 0 }
}

interface Asked {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  /** As the request names it. */
  readonly model: string
  readonly estimate: Estimate
}

/**
 * Lets a request in to the model that it names, and settles what it took when its response is over, whatever becomes of it.
 * @throws OrielError `not_found` for the model; `forbidden`, `payment_required` or `rate_limited`
 */
export async function admit(
  {
    services,
    dialect,
    activity,
  }: Pick<RouteOptions, 'dialect' | 'activity'> & { services: { accounts: Accounts; deployments: Deployments } },
  { request, reply, model: name, estimate }: Asked,
): Promise<{ meter: Meter; model: NamedModel }> {
  const { accounts, deployments } = services
  const model = await ownModel(request.identity, name, () => deployments.lookUp(name, ownerOf(request.identity)))
  const reservation = await accounts.admit(request.identity, model.id, estimate).catch(describingRates(reply))
  describeRates(reply, reservation.rates)
  const { account, key } = request.identity
  const meter = new Meter(reservation, activity, dialect, request, reply, {
    ...{ id: reservation.id, requestId: request.id, account, key, model: model.id },
    adapter: model.adapter?.id ?? null,
    ...{ endpoint: request.routeOptions.url ?? '', dialect: dialect.title },
  })
  const settle = () => meter.settle(reply.raw.writableFinished ? reply.raw.statusCode : 499)
  if (reply.raw.destroyed) settle()
  else reply.raw.once('close', settle)
  return { meter, model }
}

/** A refusal tells the client its limits. */
const describingRates =
  (reply: FastifyReply) =>
  (error: unknown): never => {
    if (error instanceof RateLimitError) describeRates(reply, error.rates)
    throw error
  }

/** What a request has taken so far. */
export class Meter {
  readonly #reservation: Reservation
  readonly #activity: Activity
  readonly #errors: Dialect['errors']
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  /** As whoever runs the server sees it. */
  readonly running: RunningRequest
  #watched: WatchedAnswer | undefined
  /** Prompts that servers elsewhere may be reading. */
  readonly #sent = new Map<AnswerRequest, { readonly usage: PromptUsage; readonly servedBy: string }>()
  #failure: number | undefined

  constructor(
    reservation: Reservation,
    activity: Activity,
    { errors }: Dialect,
    request: FastifyRequest,
    reply: FastifyReply,
    asked: AskedRequest,
  ) {
    this.#reservation = reservation
    this.#activity = activity
    this.#errors = errors
    this.#request = request
    this.#reply = reply
    this.running = activity.begin(request, asked)
  }

  /** The request takes more than it seemed to when it was let in. @throws OrielError `rate_limited` */
  async expect(estimate: Estimate): Promise<void> {
    await this.#reservation.expect(estimate).catch(describingRates(this.#reply))
    describeRates(this.#reply, this.#reservation.rates)
  }

  /** @param watched counts what is settled */
  watch(watched: WatchedAnswer): void {
    this.#watched = watched
  }

  /** A prompt went to a server elsewhere, which may take its price even if the client leaves before it answers. */
  sent({ request, usage, servedBy }: SentPrompt): void {
    if (usage === null) this.#sent.delete(request)
    else this.#sent.set(request, { usage, servedBy })
  }

  /** A text of the request was embedded. @param model that did it */
  embedded(tokens: number, model: string): void {
    this.running.embeddedBy = model
    this.running.embeddedTokens += tokens
    this.#activity.recent.now.text += tokens
  }

  /** The answer broke off after its status line. */
  failed(error: unknown): void {
    const shown = toOrielError(error)
    this.#failure = statusOf(shown.kind, this.#errors)
    this.#activity.failed(this.#request, shown)
  }

  /** @param status of the response; 499: the client did not wait for its end */
  settle(status: number): void {
    const { answer, tally, completionTokens: seen } = this.#watched ?? {}
    const { media } = answer ?? {}
    const sent = [...this.#sent.values()]
    const usage = answer?.usage ?? (sent.length > 0 ? usageOfAll(sent) : undefined)
    // What an upstream says at the end is more exact than what was seen of its answers.
    const { completionTokens = seen, reasoningTokens, timings } = tally ?? {}
    const { endpoint, dialect, adapter } = this.running.asked
    const final = this.#failure ?? status
    const cost = this.#reservation.settle({
      // Another model than the one that was asked for may have answered.
      model: answer?.servedBy ?? sent[0]?.servedBy ?? this.running.embeddedBy,
      ...{ endpoint, dialect, adapter, status: final, begun: this.#failure !== undefined && (seen ?? 0) > 0 },
      ...(usage === undefined ? { textTokens: this.running.embeddedTokens } : promptKinds(usage)),
      ...{ completionTokens, reasoningTokens },
      ...{ mediaMs: media?.media, queueMs: timings?.queue, encodeMs: timings?.encode },
      ...{ prefillMs: timings?.prefill, generationMs: timings?.generation },
    })
    this.#activity.end(this.running, final, cost)
  }
}
