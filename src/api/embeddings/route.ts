import type { z } from 'zod'
import { mayUse } from '../../accounts/index.ts'
import type { EmbedAsk, NamedModel } from '../../deployments/index.ts'
import { OrielError } from '../../errors.ts'
import { type Documentation, readParameters, sendLarge } from '../answer-route.ts'
import type { Endpoint } from '../dialects/dialect.ts'
import { describeColdStart, describeIgnored } from '../headers.ts'
import { admit, estimateOfTexts, type Meter } from '../metering.ts'

/** Texts to embed, as the body of a request says them. */
interface EmbedRequest extends Omit<EmbedAsk, 'client'> {
  model: string
  /** The parameter that has a text, for errors. */
  paramOf(index: number): string
  /** Whether the model is unloaded afterwards, unless others use it. */
  unload?: boolean
}

/** The embeddings of a request. */
export interface Embedded {
  vectors: readonly Float32Array[]
  promptTokens: number
  /** Of the whole request, and until its model was loaded, in ms. */
  ms: number
  loadMs: number
  /** Whether its model had to be loaded first. */
  isCold: boolean
}

/** A protocol that embeds. Its answer may be large, so its JSON is made piece by piece, as the client reads it. */
interface EmbedProtocol<Body extends z.ZodObject, Answer extends z.ZodType> extends Documentation {
  body: Body
  answer: Answer
  /** @throws OrielError `invalid` */
  read(body: z.output<Body>): EmbedRequest
  pieces(embedded: Embedded, body: z.output<Body>): Iterable<string>
}

export const embedEndpoint = <Body extends z.ZodObject, Answer extends z.ZodType>(
  protocol: EmbedProtocol<Body, Answer>,
): Endpoint => ({
  ...protocol,
  method: 'POST',
  handler: (options) => async (request, reply) => {
    const { parsed, context, ignored, signal } = readParameters(protocol.body, options, request, reply)
    const asked = protocol.read(parsed)
    describeIgnored(reply, ignored)
    const estimate = estimateOfTexts(asked.texts)
    const { meter, model } = await admit(options, { request, reply, model: asked.model, estimate })
    const knows = (id: string) => mayUse(request.identity, id)
    const { servedBy, ...embedded } = await embed(model, { ...asked, client: context.client, knows }, signal, meter)
    const { promptTokens, ms, loadMs, isCold, vectors } = embedded
    if (isCold) describeColdStart(reply, loadMs)
    const [{ length: dimensions } = { length: 0 }] = vectors
    const work = { texts: vectors.length, promptTokens, dimensions, ms, loadMs }
    options.embedded({ requestId: request.id, model: servedBy, ...work }, request)
    reply.header('fireworks-prompt-tokens', String(promptTokens))
    return sendLarge(reply, protocol.pieces(embedded, parsed))
  },
})

async function embed(
  model: NamedModel,
  ask: EmbedRequest & EmbedAsk & { knows(id: string): boolean },
  signal: AbortSignal,
  meter: Meter,
): Promise<Embedded & { servedBy: string }> {
  const began = performance.now()
  try {
    const { client, knows, unload = false } = ask
    let isCold = false
    const onCold = (): void => {
      isCold = true
    }
    const embedder = await model.embedder(signal, { client, knows, unload, onCold })
    const loadMs = performance.now() - began
    meter.running.enter('prefill')
    const vectors: Float32Array[] = []
    let promptTokens = 0
    for await (const { tokens, vector } of embedder.embed(ask, signal)) {
      // What is computed counts, even if a later text is refused.
      meter.embedded(tokens, embedder.info.id)
      promptTokens += tokens
      vectors.push(vector)
    }
    return { vectors, promptTokens, ms: performance.now() - began, loadMs, isCold, servedBy: embedder.info.id }
  } catch (error) {
    throw inRequest(error, ask)
  }
}

/** Embedders name texts by their index, requests by a parameter. */
function inRequest(error: unknown, { texts, paramOf }: EmbedRequest): unknown {
  const [, index] = error instanceof OrielError ? (/^texts\.(\d+)$/.exec(error.param ?? '') ?? []) : []
  if (!(error instanceof OrielError) || index === undefined) return error
  const param = paramOf(Number(index))
  return texts.length === 1 ? error.at(param) : error.at(param, `${param}: ${error.message}`)
}
