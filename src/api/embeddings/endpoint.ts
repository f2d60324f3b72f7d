import type { z } from 'zod'
import { type Embedded, embedEndpoint } from './route.ts'
import { type EmbeddingsRequest, embeddingList, embeddingsRequest, type Input } from './schema.ts'

/** `POST /v1/embeddings`, as OpenAI has it. */
export const embeddingsEndpoint = embedEndpoint({
  path: '/embeddings',
  tag: 'OpenAI',
  summary: 'Embed texts, with a model that is made for it',
  body: embeddingsRequest,
  answer: embeddingList,
  read: ({ model, input, dimensions }) => {
    const texts = textsOf(input)
    return {
      model,
      texts,
      dimensions: dimensions ?? null,
      overflow: 'error',
      paramOf: (index) => (texts[0] === input ? 'input' : `input[${index}]`),
    }
  },
  pieces: embeddings,
})

const textsOf = (input: Input): readonly (string | readonly number[])[] => {
  if (typeof input === 'string' || isTokens(input)) return [input]
  return input
}

const isTokens = (input: Exclude<Input, string>): input is readonly number[] => typeof input[0] === 'number'

type List = z.output<typeof embeddingList>

function* embeddings({ vectors, promptTokens }: Embedded, body: EmbeddingsRequest): Iterable<string> {
  yield '{"object":"list","data":['
  for (const [index, vector] of vectors.entries()) {
    const item: List['data'][number] = { object: 'embedding', index, embedding: encoded(vector, body) }
    yield `${index > 0 ? ',' : ''}${JSON.stringify(item)}`
  }
  const usage: List['usage'] = { prompt_tokens: promptTokens, total_tokens: promptTokens }
  yield `],"model":${JSON.stringify(body.model)},"usage":${JSON.stringify(usage)}}`
}

const encoded = (vector: Float32Array, { encoding_format: format }: EmbeddingsRequest): number[] | string =>
  format === 'base64'
    ? Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('base64')
    : Array.from(vector)
