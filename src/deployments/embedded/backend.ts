import type { Config } from '../../config.ts'
import {
  type Device,
  type Engine,
  type PromptCount,
  type PromptPiece,
  startEmbedding,
  startEngine,
} from '../../engine/index.ts'
import { changingErrors, OrielError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { Media } from '../../media/index.ts'
import type { ModelCard } from '../../models/index.ts'
import { beginsThought, ChatLayout, videoFormatOf } from '../../prompt/index.ts'
import type { Ask, PlainPart } from '../ask.ts'
import type { Backend, Count, PartCount } from '../backend.ts'
import type { Starter } from '../starter.ts'
import { soundAdmission } from './admit-sound.ts'
import { answerEvents, describedPrompt, readersOf } from './answer-events.ts'
import { PromptAttachments } from './attachments.ts'
import { cutter } from './cut.ts'
import { embeddedEmbedder } from './embedder.ts'
import { cacheKeyOf, checkSchemas, generateRequest, ignoredOf, inAsk } from './generation.ts'
import { grounded } from './grounding.ts'
import { infoOf, inputsOf } from './info.ts'
import { type LayoutModel, layOut } from './layout.ts'
import { loadOptions } from './load-options.ts'
import { previewer } from './preview.ts'
import { bounded } from './transcription.ts'
import { type VideoReading, videoSource } from './videos.ts'

export interface EmbeddedParts {
  card: ModelCard
  engine: Engine
  media: Media
}

/** A model inside this server: its template lays the prompt out, `media` loads the attachments, its engine answers. */
export function embeddedBackend({ card, engine, media }: EmbeddedParts): Backend {
  const { model } = engine
  const chats = new ChatLayout(model)
  const layoutModel: LayoutModel = { engine, chats }

  const reading: VideoReading = {
    format: videoFormatOf({
      sees: model.inputs.image?.family ?? null,
      hears: model.inputs.audio?.family ?? null,
      title: card.title,
    }),
    framesPerTile: model.inputs.image?.framesPerTile ?? 1,
  }

  /** @param answers refuses what cannot be answered, as soon as that is known; else it is only counted */
  const prepare = async (asked: Ask, signal: AbortSignal, { answers }: { answers: boolean }) => {
    checkSchemas(asked)
    const start = performance.now()
    const asker = { client: asked.client, isolation: cacheKeyOf(asked.settings) }
    const sources = asked.attachments.map(videoSource)
    const needs = {
      longestEdge: model.inputs.image?.longestEdge ?? 1,
      sound: model.inputs.audio !== null,
      video: { perSecond: reading.format.perSecond, most: reading.format.most },
      admitSound: soundAdmission(asked, sources, layoutModel, reading, { answers }),
    }
    const loaded = await media.load(sources, asker, needs, signal)
    const timings = {
      fetch: Math.max(0, ...loaded.map(({ fetchMs }) => fetchMs)),
      decode: Math.max(0, ...loaded.map(({ decodeMs }) => decodeMs)),
      media: performance.now() - start,
    }
    const attachments = new PromptAttachments(loaded, asked.attachments, reading)
    const ask = bounded(asked, loaded)
    return { ask, ...(await layOut(ask, attachments, layoutModel)), attachments, timings }
  }

  return {
    info: {
      ...infoOf(card),
      contextTokens: model.contextTokens,
      inputs: inputsOf({
        sees: model.inputs.image !== null,
        hears: model.inputs.audio !== null,
        contextTokens: model.contextTokens,
      }),
    },

    answer: (asked, signal, onPhase) =>
      translated(asked, async () => {
        if (asked.attachments.length > 0) onPhase?.('media')
        const { ask, parts, pieces, attachments, timings } = await prepare(asked, signal, { answers: true })
        const thinking = endsInThought(ask, parts)
        const request = generateRequest(ask, pieces, model, card.sampling, thinking)
        const { card: adapter } = ask.adapter ?? {}
        if (adapter !== undefined) await engine.loadAdapter(adapter, signal)
        const { echo, wantsTokens } = ask.settings
        const counted = echo !== null || wantsTokens ? await engine.count(pieces, ask.client) : null
        const prompt = counted && describedPrompt(parts, attachments, pieces, counted)
        const events = engine.generate(request, signal, onPhase)[Symbol.asyncIterator]()
        const first = await events.next()
        if (first.done || first.value.type !== 'prompt') throw new Error('the engine did not begin with the prompt')
        const { ignored = [], promptTokens, cachedTokens, attachmentTokens } = first.value
        const { grammarAfter: __, ...sampling } = request.sampling
        const rest = { [Symbol.asyncIterator]: () => events }
        const answered = answerEvents(rest, readersOf(ask, thinking), prompt, ask.settings, (works) =>
          attachments.answered(pieces, attachmentTokens, works),
        )
        const translatable =
          ask.settings.wantsBoxes && card.coordinates !== null
            ? grounded(answered, card.coordinates, model.controlTokens)
            : answered
        return {
          usage: { promptTokens, cachedTokens, ...attachments.tokens(pieces, attachmentTokens) },
          ignored: ignoredOf(ignored, ask),
          sampling,
          media: timings,
          prompt,
          // A grammar may turn out to be too ambiguous only in the middle of an answer.
          events: changingErrors(translatable, (error) => inAsk(error, ask)),
        }
      }),

    count: (ask, signal) =>
      translated(ask, async () => {
        const { pieces, attachments } = await prepare(ask, signal, { answers: false })
        return countOf(await engine.count(pieces, ask.client), ask, pieces, attachments, engine)
      }),

    loadAdapter: (adapter) => engine.loadAdapter(adapter),
    cut: cutter(media),
    preview: previewer(engine, media),

    state: async () => ({ ...(await engine.state()) }),
    async close() {
      chats.close()
      await engine.close()
    },
  }
}

const translated = <T>(ask: Ask, work: () => Promise<T>): Promise<T> =>
  work().catch((error: unknown) => {
    throw inAsk(error, ask)
  })

/** Whether the prompt ends in a thought that the template has begun and the answer continues. */
function endsInThought({ prompt }: Ask, parts: readonly PlainPart[]): boolean {
  const last = parts.at(-1)
  return prompt.kind === 'chat' && last?.kind === 'text' && last.special && beginsThought(last.text)
}

function countOf(
  { promptTokens, attachmentTokens, tokens }: PromptCount,
  ask: Ask,
  pieces: readonly PromptPiece[],
  attachments: PromptAttachments,
  engine: Engine,
): Count {
  return {
    promptTokens,
    ...attachments.tokens(pieces, attachmentTokens),
    tokens,
    async parts() {
      const content = contentOf(ask)
      const texts = content.map((part) => (part.kind === 'text' || part.kind === 'tokens' ? [part] : []))
      const [around = 0, ...lengths] = await engine.lengths([[], ...texts], ask.client)
      if (lengths.includes(Number.POSITIVE_INFINITY)) throw tooLongToCount()
      // By themselves too: the prompt has lost the images of the turns that were dropped.
      const counts = await attachments.counts((alone) => engine.count(alone, ask.client))
      return content.map((part, at): PartCount => {
        if (part.kind === 'text' || part.kind === 'tokens')
          return { kind: 'text', tokens: (lengths[at] ?? around) - around }
        const count = counts[part.attachment]
        if (count === undefined) throw new Error('the content names an attachment that does not exist')
        return count
      })
    },
  }
}

const tooLongToCount = (): OrielError =>
  new OrielError('invalid', "A text of this request is too long for the model's context, so it is not counted.", {
    ...{ param: 'prompt', code: 'context_length_exceeded' },
  })

/** The parts of a request in order. A client's text in a message names no control tokens. */
const contentOf = ({ prompt }: Ask): readonly PlainPart[] =>
  prompt.kind === 'plain'
    ? prompt.parts
    : prompt.messages.flatMap(({ content }) =>
        content.map((part): PlainPart => (part.kind === 'text' ? { ...part, special: false } : part)),
      )

export interface EmbeddedOptions {
  config: Pick<Config, 'engine'>
  device: Device
  media: Media
  log: Logger
}

/** Starts models inside this server, each with an engine in a separate process. The starter throws as `startEngine` does. */
export function embedded({ config, device, media, log }: EmbeddedOptions): Starter {
  let warned = false
  const warn = (runtimes: Readonly<Record<string, 'onnx' | 'ggml'>>): void => {
    const isSlow =
      device === 'cpu' && config.engine.visionRuntime === 'onnx' && Object.values(runtimes).includes('ggml')
    if (isSlow && !warned) log.warn(slowEncoder)
    warned ||= isSlow
  }
  return async (card, { plan, signal, onOpened, ...around }) => {
    const { embedding, size } = card
    const gpu = { device, layers: size.layers, bytes: plan.weights + plan.context, reserved: plan.vision }
    const options = { ...loadOptions(card, config.engine, plan), ...(device === 'cpu' ? {} : { gpu }), log, ...around }
    if (embedding !== null) {
      const { pooling, whole } = embedding
      const started = await startEmbedding({ ...options, embedding: { pooling, whole } }, signal)
      return embeddedEmbedder(card, embedding, started)
    }
    const opened = (runtimes: Parameters<typeof warn>[0]): void => {
      warn(runtimes)
      onOpened()
    }
    const engine = await startEngine({ ...options, onOpened: opened }, signal)
    return embeddedBackend({ card, engine, media })
  }
}

const slowEncoder =
  'ONNX Runtime cannot be loaded, so ggml encodes images, which takes 2 to 5 times as long. To install ONNX Runtime, run: npm install onnxruntime-node --ignore-scripts. It exists for Linux with glibc, for macOS on arm64 and for Windows.'
