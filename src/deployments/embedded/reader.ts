import type { EngineConfig } from '../../config.ts'
import {
  type EmbeddedCells,
  type Embeddings,
  type EngineAttachment,
  type EngineModel,
  type PromptInputs,
  type PromptPiece,
  startEngine,
} from '../../engine/index.ts'
import { cancelled, OrielError } from '../../errors.ts'
import { ownClient } from '../../fairness.ts'
import type { Logger } from '../../log.ts'
import { asImages, type Media } from '../../media/index.ts'
import type { ModelCard } from '../../models/index.ts'
import { type ChatExtras, type ChatFormat, type ChatMessage, compileTemplate, inTime } from '../../prompt/index.ts'
import { bytesText } from '../../sizes.ts'
import type { Attachment, PlainPart } from '../ask.ts'
import { planMemory } from '../memory-plan.ts'
import { PromptImages } from './images.ts'
import { loadOptions } from './load-options.ts'

/** A model that reads chats without answering them: what its decoder would get of each, as when it answers. */
export interface Reader {
  readonly model: Pick<EngineModel, 'endTokens' | 'eosToken' | 'vocabulary'>
  /** @throws OrielError `invalid` if the template refuses the chat, `internal` if it does not end */
  layOut(messages: readonly ChatMessage[], extras: ChatExtras): Promise<PlainPart[]>
  /**
   * Loads the images of a chat.
   * @param signal frees their pixels when it aborts
   * @throws OrielError about the first that fails; its `param` is set
   */
  load(sources: readonly Attachment[], signal: AbortSignal): Promise<ReadImages>
  /**
   * What the decoder gets.
   * @param images of the chat that the parts are of
   * @param most cells; what follows is left out
   */
  read(parts: readonly PlainPart[], images: ReadImages, most: number): Promise<ReadPrompt>
  /** The embeddings of a `place` of a prompt. @throws OrielError */
  encode(prompt: ReadPrompt, place: number, signal: AbortSignal): Promise<Embeddings>
  close(): Promise<void>
}

/** For each source, its images as the engine takes them: a document has several. */
type ReadImages = readonly (readonly EngineAttachment[])[]

export interface ReadPrompt extends PromptInputs {
  readonly spans: readonly EmbeddedCells[]
  /** By their place. */
  readonly attachments: readonly EngineAttachment[]
}

export interface ReaderOptions {
  readonly engine: EngineConfig
  readonly media: Media
  /** Instead of the model's own. */
  readonly chatTemplate: string | null
  /** What the model's process may take. */
  readonly memoryBytes: number
  readonly log: Logger
}

/** Nothing is decoded, so that the least KV memory will do. */
const cells = 256
/** A picture that comes again soon is not encoded again. */
const cacheBytes = 64e6

/**
 * Starts a model that reads, on CPUs, in a process of its own.
 * @throws OrielError as `startEngine` and `compileTemplate` do, and `precondition_failed` if there is not enough memory
 */
export async function embeddedReader(card: ModelCard, options: ReaderOptions, signal: AbortSignal): Promise<Reader> {
  const { media, chatTemplate, log } = options
  const engine = await startEngine({ ...loadOptions(card, ...settingsFor(card, options)), log }, signal)
  const own = chatTemplate === null ? engine.model : { ...engine.model, chatTemplate }
  let format: ChatFormat
  try {
    format = compileTemplate(own)
  } catch (error) {
    await engine.close()
    throw error
  }
  const needs = { longestEdge: engine.model.inputs.image?.longestEdge ?? 1 }
  const asker = { client: ownClient, isolation: '' }
  return {
    model: engine.model,
    layOut: async (messages, extras) => inTime(() => format.layout(messages, extras)),
    async load(sources, stop) {
      const loaded = await media.load(sources, asker, needs, stop)
      return loaded.map((file, index) => {
        const source = sources[index]
        if (source === undefined) throw new Error('more was loaded than was named')
        return new PromptImages(asImages(file), source).pieces
      })
    },
    async read(parts, images, most) {
      const attachments: EngineAttachment[] = []
      const pieces = parts.flatMap((part): readonly PromptPiece[] => {
        if (part.kind === 'text' || part.kind === 'tokens') return [part]
        const own = images[part.attachment] ?? []
        attachments.push(...own)
        return own
      })
      return { ...(await engine.inputs(pieces, most, ownClient)), attachments }
    },
    async encode({ attachments }, place, stop) {
      const attachment = attachments[place]
      if (attachment === undefined) throw new Error('there is nothing to encode at this place')
      if (stop.aborted) throw cancelled()
      return engine.encode(attachment, ownClient, stop)
    },
    close: () => engine.close(),
  }
}

/** @throws OrielError `precondition_failed` if the model's process needs more memory than it may have */
function settingsFor(card: ModelCard, { engine, memoryBytes }: ReaderOptions) {
  const least = { contextTokens: cells, maxSequences: 1, prefixCacheBytes: 1, encoderCacheBytes: cacheBytes }
  const config = { ...engine, ...least }
  try {
    return [config, planMemory(card, config, memoryBytes)] as const
  } catch (error) {
    if (!(error instanceof OrielError) || error.code !== 'model_too_large') throw error
    const message = `To read examples with the model ${card.id}, more memory is needed than the ${bytesText(memoryBytes)} that there are.`
    throw new OrielError('precondition_failed', message, { code: error.code, cause: error })
  }
}
