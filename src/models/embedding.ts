import { unsupportedModel } from '../errors.ts'
import type { GgufHeader } from '../gguf/index.ts'
import type { DecoderFacts } from './fit.ts'

/** What the header of a model says that embeds texts and does not answer. */
export interface EmbeddingFacts {
  /** Numbers in an embedding. */
  dimensions: number
  /** How the rows of a text become one embedding: their mean, the first or the last of them. */
  pooling: 'mean' | 'cls' | 'last'
  /** Whether all rows of a text must be computed in one step, since they see each other or are pooled. */
  whole: boolean
  /** Whether keys and values of rows are kept between steps. */
  keeps: boolean
  /** What llama.cpp's buffers take for each row of a step. */
  bytesPerRow: number
}

/** Models whose rows see each other in both directions, for which llama.cpp keeps no KV: `create_memory` of its src/llama-model.cpp. */
const encoders: ReadonlySet<string> = new Set(
  'bert nomic-bert nomic-bert-moe neo-bert jina-bert-v2 jina-bert-v3 eurobert modern-bert gemma-embedding'.split(' '),
)

/** `enum llama_pooling_type` */
const poolings = [undefined, 'mean', 'cls', 'last'] as const
const rank = 4

/**
 * @param file its name, for messages
 * @returns null for a model that answers
 * @throws OrielError `invalid` for one that ranks
 */
export function embeddingFacts(
  { metadata, tensors }: GgufHeader,
  { architecture, width }: Pick<DecoderFacts, 'architecture' | 'width'>,
  file: string,
): EmbeddingFacts | null {
  const number = (key: string): number | undefined => {
    const found = metadata.get(`${architecture}.${key}`)
    return typeof found === 'number' ? found : undefined
  }
  const isEncoder = encoders.has(architecture)
  const type = number('pooling_type') ?? 0
  if (type === rank) throw unsupportedModel(`${file} is a model that ranks texts, which is not supported.`)
  // Sentence Transformers takes the mean if a model says nothing.
  const pooling = poolings[type] ?? (isEncoder ? 'mean' : undefined)
  if (pooling === undefined) return null
  const [, vocabulary = 0] = tensors.find(({ name }) => name === 'token_embd.weight')?.shape ?? []
  // The logits of every row have their place in the output, and in a decoder they are computed too.
  const numbers = vocabulary * (isEncoder ? 1 : 2) + 12 * width + 3 * (number('feed_forward_length') ?? 4 * width)
  return {
    dimensions: number('embedding_length_out') ?? width,
    pooling,
    whole: isEncoder || pooling !== 'last' || metadata.get(`${architecture}.attention.causal`) === false,
    keeps: !isEncoder,
    bytesPerRow: 4 * numbers,
  }
}
