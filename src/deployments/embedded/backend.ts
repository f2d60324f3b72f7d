import type { Prices } from '../../config.ts'
import type { Engine, PromptCount } from '../../engine/index.ts'
import { OrielError } from '../../errors.ts'
import type { Loaded, Media } from '../../media/index.ts'
import type { ModelCard } from '../../models/index.ts'
import { beginsThought, type ChatFormat, compileTemplate } from '../../prompt/index.ts'
import type { Ask, PlainPart } from '../ask.ts'
import type { Answer, Backend, Count, MediaTimings, PartCount, PromptUsage } from '../backend.ts'
import { answerEvents, readersOf } from './answer-events.ts'
import { generateRequest, inAsk } from './generation.ts'
import { infoOf } from './info.ts'
import { type LaidOut, type LayoutModel, layOut } from './layout.ts'
import { promptText } from './prompt-text.ts'

/** What an embedded backend is made of. */
export interface EmbeddedParts {
  card: ModelCard
  engine: Engine
  media: Media
  prices: Prices
}

/** A model inside this server: its template lays the prompt out, `media` loads the attachments, its engine answers. */
export function embeddedBackend({ card, engine, media, prices }: EmbeddedParts): Backend {
  const { model } = engine
  let format: ChatFormat | undefined
  const layoutModel: LayoutModel = {
    engine,
    imagesFirst: card.picturesFirst,
    // Compiled when a chat needs it: without its template a model can still complete text.
    get format() {
      format ??= compileTemplate(model)
      return format
    },
  }

  const prepare = async (ask: Ask, signal: AbortSignal): Promise<LaidOut & Attached> => {
    const start = performance.now()
    const loaded = await media.load(ask.attachments, model.inputs.image?.longestEdge ?? 1, signal)
    const timings = {
      fetch: Math.max(0, ...loaded.map(({ fetchMs }) => fetchMs)),
      decode: Math.max(0, ...loaded.map(({ decodeMs }) => decodeMs)),
      media: performance.now() - start,
    }
    return { ...(await layOut(ask, loaded, layoutModel)), loaded, timings }
  }

  return {
    info: {
      ...infoOf(card, prices),
      contextTokens: model.contextTokens,
      inputs: model.inputs.image === null ? [] : ['image'],
    },

    answer: (ask, signal) =>
      translated(ask, async () => {
        const { parts, pieces, loaded, timings } = await prepare(ask, signal)
        const thinking = endsInThought(ask, parts)
        const request = generateRequest(ask, pieces, model, card.sampling, thinking)
        const { echo, wantsTokens } = ask.settings
        const tokens = echo !== null || wantsTokens ? (await engine.count(pieces)).tokens : null
        const images = loaded.map(({ images }) => images)
        const prompt = tokens === null ? null : { text: promptText(parts, images, tokens), tokens }
        const events = engine.generate(request, signal)[Symbol.asyncIterator]()
        const first = await events.next()
        if (first.done || first.value.type !== 'prompt') throw new Error('the engine did not begin with the prompt')
        const { type: _, ...usage }: { type: 'prompt' } & PromptUsage = first.value
        const { grammarAfter: __, ...sampling } = request.sampling
        const rest = { [Symbol.asyncIterator]: () => events }
        return {
          usage,
          sampling,
          media: timings,
          prompt,
          events: translatedEvents(ask, answerEvents(rest, readersOf(ask, thinking), prompt, ask.settings)),
        }
      }),

    count: (ask, signal) =>
      translated(ask, async () => {
        const { pieces, loaded } = await prepare(ask, signal)
        return countOf(await engine.count(pieces), ask, loaded, engine)
      }),

    state: async () => ({ ...(await engine.state()) }),
    close: () => engine.close(),
  }
}

interface Attached {
  loaded: readonly Loaded[]
  timings: MediaTimings
}

async function translated<T>(ask: Ask, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw error instanceof OrielError ? inAsk(error, ask) : error
  }
}

/** A grammar may turn out to be too ambiguous only in the middle of an answer. */
async function* translatedEvents(ask: Ask, events: Answer['events']): Answer['events'] {
  try {
    yield* events
  } catch (error) {
    throw error instanceof OrielError ? inAsk(error, ask) : error
  }
}

/** Whether the prompt ends in a thought that the template has begun and the answer continues. */
function endsInThought({ prompt }: Ask, parts: readonly PlainPart[]): boolean {
  const last = parts.at(-1)
  return prompt.kind === 'chat' && last?.kind === 'text' && last.special && beginsThought(last.text)
}

function countOf(
  { promptTokens, imageTokens, tokens }: PromptCount,
  ask: Ask,
  loaded: readonly Loaded[],
  engine: Engine,
): Count {
  return {
    promptTokens,
    imageTokens,
    tokens,
    async parts() {
      const around = await engine.length([])
      let imagesBefore = 0
      const counted = contentOf(ask).map(async (part): Promise<PartCount> => {
        if (part.kind === 'text' || part.kind === 'tokens')
          return { kind: 'text', tokens: (await engine.length([part])) - around }
        const images = (loaded[part.attachment]?.images ?? []).map(({ width, height }, index) => ({
          width,
          height,
          tokens: imageTokens[imagesBefore + index] ?? 0,
        }))
        imagesBefore += images.length
        return { ...part, tokens: images.reduce((sum, { tokens }) => sum + tokens, 0), images }
      })
      return Promise.all(counted)
    },
  }
}

/** The parts of a request in order. A client's text in a message names no control tokens. */
const contentOf = ({ prompt }: Ask): readonly PlainPart[] =>
  prompt.kind === 'plain'
    ? prompt.parts
    : prompt.messages.flatMap(({ content }) =>
        content.map((part): PlainPart => (part.kind === 'text' ? { ...part, special: false } : part)),
      )
