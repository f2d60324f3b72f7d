import { z } from 'zod'
import type { Endpoint } from '../dialects/dialect.ts'
import { embedEndpoint } from '../embeddings/route.ts'
import { optional } from '../request/validation.ts'
import { nanoseconds } from './answer.ts'
import { unloads } from './read.ts'
import { keepAlive, model, options, withoutTag } from './schema.ts'

const shared = {
  model,
  options: optional(options, 'Accepted and ignored.'),
  keep_alive: keepAlive,
}

const embedRequest = z.looseObject({
  ...shared,
  input: z.union([z.string(), z.array(z.string()).max(2048)], { error: 'must be a string or an array of strings' }),
  truncate: optional(z.boolean(), 'Cut a text that is too long. Default: true.'),
  dimensions: optional(z.int().min(1), 'Keep this many of the first numbers. Default: all.'),
})

export const embedAnswer = z.strictObject({
  model: z.string(),
  embeddings: z.array(z.array(z.number())).describe('Each of length 1.'),
  total_duration: z.int().describe('In nanoseconds.'),
  load_duration: z.int(),
  prompt_eval_count: z.int().describe('Tokens of all texts.'),
})

const embed = embedEndpoint({
  path: '/embed',
  tag: 'Ollama',
  summary: 'Embed texts',
  body: embedRequest,
  answer: embedAnswer,
  read: ({ model, input, truncate, dimensions, ...body }) => {
    // An empty text asks for nothing but the model.
    const texts = typeof input === 'string' ? [input].filter((text) => text !== '') : input
    return {
      model: withoutTag(model),
      texts,
      dimensions: dimensions ?? null,
      overflow: truncate === false ? 'error' : 'truncate',
      paramOf: (index) => (typeof input === 'string' ? 'input' : `input[${index}]`),
      unload: unloads(body),
    }
  },
  *pieces({ vectors, promptTokens, ms, loadMs }, { model }) {
    yield `{"model":${JSON.stringify(model)},"embeddings":[`
    for (const [index, vector] of vectors.entries())
      yield `${index > 0 ? ',' : ''}${JSON.stringify(Array.from(vector))}`
    const rest: Omit<z.output<typeof embedAnswer>, 'model' | 'embeddings'> = {
      total_duration: nanoseconds(ms),
      load_duration: nanoseconds(loadMs),
      prompt_eval_count: promptTokens,
    }
    yield `],${JSON.stringify(rest).slice(1)}`
  },
})

/** The older form, with one text. */
const embeddings = embedEndpoint({
  path: '/embeddings',
  tag: 'Ollama',
  summary: 'Embed one text',
  body: z.looseObject({ ...shared, prompt: z.string() }),
  answer: z.strictObject({ embedding: z.array(z.number()) }),
  read: ({ model, prompt, ...body }) => ({
    model: withoutTag(model),
    texts: prompt === '' ? [] : [prompt],
    dimensions: null,
    overflow: 'truncate',
    paramOf: () => 'prompt',
    unload: unloads(body),
  }),
  *pieces({ vectors: [vector = new Float32Array()] }) {
    yield JSON.stringify({ embedding: Array.from(vector) })
  },
})

export const embedEndpoints: readonly Endpoint[] = [embed, embeddings]
