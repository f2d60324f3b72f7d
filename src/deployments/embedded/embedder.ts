import { setMaxListeners } from 'node:events'
import { type EmbeddingEngine, textsAtOnce } from '../../engine/index.ts'
import { OrielError } from '../../errors.ts'
import type { EmbeddingFacts, ModelCard } from '../../models/index.ts'
import type { EmbedAsk, Embedder, Embedding } from '../embedder.ts'
import { infoOf } from './info.ts'

/** A model inside this server that embeds. Its engine has texts of all requests at a time, some of each. */
export function embeddedEmbedder(card: ModelCard, { dimensions }: EmbeddingFacts, engine: EmbeddingEngine): Embedder {
  return {
    info: { ...infoOf(card), contextTokens: engine.model.contextTokens, dimensions },
    embed: (ask, signal) => embedded(ask, dimensions, engine, signal),
    state: async () => ({ ...(await engine.state()) }),
    close: () => engine.close(),
  }
}

async function* embedded(
  { texts, dimensions, overflow, client }: EmbedAsk,
  most: number,
  engine: EmbeddingEngine,
  signal: AbortSignal,
): AsyncIterable<Embedding> {
  const kept = dimensions ?? most
  if (kept > most)
    throw new OrielError('invalid', `The embeddings of this model have ${most} dimensions; ${kept} are wanted.`, {
      param: 'dimensions',
      code: 'invalid_value',
    })
  const over = new AbortController()
  const either = AbortSignal.any([signal, over.signal])
  // Each text that the engine has listens to it.
  setMaxListeners(2 * textsAtOnce, either)
  const coming: Promise<Embedding>[] = []
  const send = async (text: EmbedAsk['texts'][number], index: number): Promise<Embedding> => {
    try {
      const { tokens, embedding } = await engine.embed(
        { text: sendable(text, overflow, engine), overflow, client },
        either,
      )
      return { tokens, vector: normalized(embedding.subarray(0, kept)) }
    } catch (error) {
      throw error instanceof OrielError && error.param === 'text' ? error.at(`texts.${index}`) : error
    }
  }
  try {
    for (const [index, text] of texts.entries()) {
      const sent = send(text, index)
      // The first failure is told; those behind it are of no interest.
      sent.catch(() => {})
      coming.push(sent)
      const [first] = coming
      if (coming.length < textsAtOnce || first === undefined) continue
      yield await first
      coming.shift()
    }
    for (const sent of coming) yield await sent
  } finally {
    over.abort()
  }
}

/** Tokens that cannot fit need not cross to the engine. @throws OrielError `invalid`, `param` `text` */
function sendable(
  text: EmbedAsk['texts'][number],
  overflow: EmbedAsk['overflow'],
  { model: { contextTokens } }: EmbeddingEngine,
): EmbedAsk['texts'][number] {
  if (typeof text === 'string' || text.length <= contextTokens) return text
  if (overflow === 'truncate') return text.slice(0, contextTokens)
  const message = `This model embeds texts of at most ${contextTokens} tokens, and the text has ${text.length}.`
  throw new OrielError('invalid', message, { param: 'text', code: 'context_length_exceeded' })
}

/** The same direction with a length of 1, by which the product of two embeddings is their cosine. */
function normalized(vector: Float32Array): Float32Array {
  let squares = 0
  for (const number of vector) squares += number * number
  const scale = squares > 0 ? 1 / Math.sqrt(squares) : 0
  return vector.map((number) => number * scale)
}
