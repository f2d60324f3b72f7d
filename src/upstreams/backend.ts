import { onAbort } from '../abort.ts'
import { deferred } from '../deferred.ts'
import type { Answer, AnswerEvent, Ask, Backend, ModelInfo, PromptUsage } from '../deployments/index.ts'
import { cancelled, OrielError } from '../errors.ts'
import type { Media } from '../media/index.ts'
import { mostHops, viaAfter } from '../via.ts'
import { affinityOf } from './affinity.ts'
import { type PreparedAttachment, prepare } from './attachments.ts'
import { AttemptFailed } from './attempt-failed.ts'
import type { Begun, Pool } from './pool.ts'
import { readableBy } from './readable.ts'
import type { Connection, Target } from './target.ts'
import { wires } from './wire/index.ts'
import type { Mutable, PreparedAsk } from './wire/wire.ts'

/** A model of ours that upstreams answer for. */
export interface AnsweredElsewhere {
  readonly info: ModelInfo
  /** At least one. */
  readonly targets: readonly Target[]
}

export interface BackendServices {
  readonly pool: Pool
  readonly media: Media
}

/** Answers for one model by asking an upstream that has it. It has nothing to close: pool and connections are shared. */
export function upstreamBackend({ info, targets }: AnsweredElsewhere, { pool, media }: BackendServices): Backend {
  /** Asks the best target with what it can read. @param signal of the ask: what was prepared for it stays for the next target */
  const askTarget = <T>(
    asked: Ask,
    signal: AbortSignal,
    onPhase: Parameters<Backend['answer']>[2],
    attempt: (target: Target, ready: PreparedAsk, timings: Answer['media'], signal: AbortSignal) => Promise<Begun<T>>,
  ): Promise<T> => {
    let prepared: PreparedAttachment[] = []
    let timings = mediaTimings(prepared, 0)
    return pool.run(
      thatCan(asked, targets),
      affinityOf(asked),
      signal,
      (target, attemptSignal) => {
        onPhase?.('queued')
        return attempt(passingOn(target, asked), { ...asked, prepared }, timings, attemptSignal)
      },
      async ({ upstream, model }) => {
        if (asked.attachments.length === 0) return
        onPhase?.('media')
        const start = performance.now()
        prepared = await prepare(asked, readableBy(upstream.settings, model), media, signal)
        timings = mediaTimings(prepared, performance.now() - start)
      },
    )
  }

  return {
    info,

    answer: (asked, signal, onPhase, onSent) =>
      askTarget(asked, signal, onPhase, async (target, ready, timings, attemptSignal) => {
        const usage = estimatedUsage(asked, ready.prepared)
        onSent?.(usage)
        const { events, ended } = await begin(target, ready, usage, attemptSignal).catch((error: unknown) => {
          if (!signal.aborted) onSent?.(null)
          throw error
        })
        const { name } = target.upstream.settings
        const answer = { usage, sampling: samplingOf(asked), media: timings, prompt: null, upstream: name, events }
        return { value: answer, ended }
      }),

    count: (asked, signal) =>
      askTarget(asked, signal, undefined, async ({ upstream, model }, ready, _, attemptSignal) => ({
        value: await wires[upstream.settings.api].count(ready, model, upstream, attemptSignal),
        ended: Promise.resolve(),
      })),

    // What the upstream does for others is not known.
    state: async () => ({ running: 0, waiting: 0 }),
    close: async () => {},
  }
}

/** The target, which is told how many servers have passed the ask on. @throws OrielError `engine_failed` if they are too many */
function passingOn({ upstream, ...target }: Target, { hops = 0 }: Ask): Target {
  if (hops >= mostHops)
    throw new OrielError(
      'engine_failed',
      `The request was passed on ${hops} times, from server to server. Some of them may ask each other for this model.`,
      { code: 'upstream_loop' },
    )
  const { connection } = upstream
  const via = viaAfter(hops)
  const send: Connection['send'] = (call, signal) =>
    connection.send({ ...call, headers: { ...call.headers, via } }, signal)
  return { ...target, upstream: { ...upstream, connection: { ...connection, send } } }
}

/**
 * The targets whose APIs have words for all of an ask.
 * @throws OrielError that of the first target if none has
 */
function thatCan(ask: Ask, all: readonly Target[]): readonly Target[] {
  const reading = all.filter(({ inputs }) => ask.attachments.every(({ kind }) => inputs?.includes(kind) ?? true))
  const targets = reading.length > 0 ? reading : all
  if (new Set(targets.map(({ upstream }) => upstream.settings.api)).size === 1) return targets
  const prepared = ask.attachments.map(({ kind }) => ({
    ...{ kind, files: [], asFrames: kind === 'video', fetchMs: 0, decodeMs: 0 },
  }))
  let refusal: unknown
  const can = targets.filter(({ upstream: { settings }, model }) => {
    const readable = readableBy(settings, model)
    if (ask.attachments.some(({ kind }) => readable[kind] === null)) return false
    try {
      wires[settings.api].call({ ...ask, prepared }, model)
      return true
    } catch (error) {
      refusal ??= error
      return false
    }
  })
  if (can.length > 0) return can
  if (refusal !== undefined) throw refusal
  return targets
}

/** Sends an ask, and waits until something of the answer is there: before, another target may give it. */
async function begin(
  { upstream, model }: Target,
  ask: PreparedAsk,
  usage: Mutable<PromptUsage>,
  signal: AbortSignal,
): Promise<{ events: AsyncIterable<AnswerEvent>; ended: Promise<void> }> {
  const { settings, connection } = upstream
  const wire = wires[settings.api]
  const call = wire.call(ask, model)
  const sent = performance.now()
  const received = await connection.send(
    { ...call, headers: { ...call.headers, ...wire.headers(settings.key) } },
    signal,
  )
  if (received.status !== 200) throw await wire.failure(received)
  const events = wire.events(received.body, ask, usage)[Symbol.asyncIterator]()
  const first = await events.next().catch(elsewhere)
  const begun = performance.now()
  const ended = deferred<void>()
  const leave = () => ended.reject(cancelled())
  const release = onAbort(signal, leave)
  const answer = async function* (): AsyncIterable<AnswerEvent> {
    try {
      for (let next = first; !next.done; next = await events.next())
        if (next.value.type === 'done') {
          ended.resolve()
          yield timed(next.value, begun - sent, performance.now() - begun)
        } else yield next.value
    } catch (error) {
      if (!(error instanceof AttemptFailed)) throw error
      ended.reject(error)
      throw error.error
    } finally {
      release()
      received.body.cancel()
      leave()
    }
  }
  return { events: answer(), ended: ended.promise }
}

/** A failure before anything of the answer was there: another target may give it. */
function elsewhere(failure: unknown): never {
  if (failure instanceof AttemptFailed && failure.error.code === 'upstream_broke_off')
    throw new AttemptFailed(failure.error, { elsewhere: true, isFault: true })
  throw failure
}

/** Adds the times that were measured here, in ms: an upstream tells none. */
const timed = (
  { tally }: Extract<AnswerEvent, { type: 'done' }>,
  firstToken: number,
  generation: number,
): AnswerEvent => ({
  type: 'done',
  tally: { ...tally, timings: { queue: 0, encode: 0, prefill: firstToken, firstToken, generation } },
})

const mediaTimings = (prepared: readonly PreparedAttachment[], media: number): Answer['media'] => ({
  fetch: Math.max(0, ...prepared.map(({ fetchMs }) => fetchMs)),
  decode: Math.max(0, ...prepared.map(({ decodeMs }) => decodeMs)),
  media,
})

/** English has more characters in a token, and few models take fewer tokens for an attachment. */
const estimated = { charactersPerToken: 4, image: 64, video: 256, audio: 64 }

/** What a prompt takes until the upstream tells it: a client that leaves before has used it too. */
function estimatedUsage({ prompt, attachments }: Ask, prepared: readonly PreparedAttachment[]): Mutable<PromptUsage> {
  const parts = prompt.kind === 'chat' ? prompt.messages.flatMap(({ content }) => content) : prompt.parts
  const text = parts.reduce((sum, part) => {
    if (part.kind === 'text') return sum + part.text.length / estimated.charactersPerToken
    return part.kind === 'tokens' ? sum + part.tokens.length : sum
  }, 0)
  const of = (kind: 'image' | 'video' | 'audio'): number[] =>
    attachments.flatMap((one, at) => {
      // A document is an image for each of its pages.
      const count = kind === 'image' ? (prepared[at]?.files.length ?? 1) : 1
      return one.kind === kind ? Array.from({ length: count }, () => estimated[kind]) : []
    })
  const [images, videos, audio] = [of('image'), of('video'), of('audio')]
  return {
    promptTokens: [...images, ...videos, ...audio].reduce((sum, tokens) => sum + tokens, Math.ceil(text)),
    cachedTokens: 0,
    imageTokens: images,
    ...(videos.length > 0 && { videoTokens: videos }),
    ...(audio.length > 0 && { audioTokens: audio }),
  }
}

/** What is asked for, or else the defaults of the APIs: what a model has of its own is not told. */
const samplingOf = ({ settings: { sampling } }: Ask): Answer['sampling'] => ({
  temperature: sampling.temperature ?? 1,
  topP: sampling.topP ?? 1,
  topK: sampling.topK ?? 0,
  minP: sampling.minP ?? 0,
  typicalP: sampling.typicalP ?? 1,
  mirostat: sampling.mirostat ?? null,
  repetitionPenalty: sampling.repetitionPenalty ?? 1,
  frequencyPenalty: sampling.frequencyPenalty ?? 0,
  presencePenalty: sampling.presencePenalty ?? 0,
  seed: sampling.seed ?? null,
  logitBias: sampling.logitBias ?? [],
  grammar: sampling.grammar ?? null,
})
