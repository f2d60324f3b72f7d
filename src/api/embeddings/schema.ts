import { z } from 'zod'
import { optional } from '../request/validation.ts'

/** Texts of one request. OpenAI's limit. */
const mostTexts = 2048

type Tokens = readonly number[]
export type Input = string | readonly string[] | Tokens | readonly Tokens[]

const kinds = 'must be a string, an array of strings, an array of token ids or an array of such arrays'

const isToken = (value: unknown): boolean => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0

/** What is wrong with an input, and with which of its items. Checked at once: it may have a million token ids. */
function faultOf(input: unknown): { message: string; path: number[] } | undefined {
  if (!Array.isArray(input)) {
    const message = faultOfItem(input, kinds)
    return message === undefined ? undefined : { message, path: [] }
  }
  if (input.length === 0) return { message: `${kinds}, with at least 1 item`, path: [] }
  if (typeof input[0] === 'number') {
    const at = input.findIndex((token) => !isToken(token))
    return at < 0 ? undefined : { message: 'must be a token id', path: [at] }
  }
  if (input.length > mostTexts)
    return { message: `must have at most ${mostTexts} items, and has ${input.length}`, path: [] }
  for (const [at, item] of input.entries()) {
    const isTokens = Array.isArray(item) && item.length > 0 && item.every(isToken)
    const message = isTokens ? undefined : faultOfItem(item, 'must be a string or an array of token ids')
    if (message !== undefined) return { message, path: [at] }
  }
  return undefined
}

function faultOfItem(item: unknown, allowed: string): string | undefined {
  if (item === '') return 'must not be empty'
  if (typeof item === 'string') return item.startsWith('data:image/') ? noImages : undefined
  return typeof item === 'object' && item !== null && !Array.isArray(item) ? noImages : allowed
}

const noImages = 'must be text: no model of this server embeds images'

const tokenIds = { type: 'array', items: { type: 'integer', minimum: 0 }, minItems: 1 } as const
const texts = { minItems: 1, maxItems: mostTexts } as const

export const embeddingsRequest = z.looseObject({
  model: z.string().min(1),
  input: z
    .custom<Input>()
    .superRefine((value, context) => {
      const fault = faultOf(value)
      if (fault !== undefined) context.addIssue({ code: 'custom', ...fault })
    })
    .meta({
      description: 'What is embedded: a text, token ids, or an array of either.',
      anyOf: [
        { type: 'string' },
        { type: 'array', items: { type: 'string' }, ...texts },
        tokenIds,
        { type: 'array', items: tokenIds, ...texts },
      ],
    }),
  encoding_format: optional(
    z.enum(['float', 'base64']),
    'Numbers, or base64 of 32-bit floats in little endian. Default: float.',
  ),
  dimensions: optional(
    z.int().min(1),
    'Keep this many of the first numbers, and scale them to length 1. For models that are trained for it (Matryoshka). Default: all.',
  ),
  user: optional(z.string(), 'Accepted and ignored.'),
})

export type EmbeddingsRequest = z.output<typeof embeddingsRequest>

export const embeddingList = z.strictObject({
  object: z.literal('list'),
  data: z.array(
    z.strictObject({
      object: z.literal('embedding'),
      index: z.int().describe('Of the input.'),
      embedding: z.union([z.array(z.number()), z.string()]).describe('Of length 1.'),
    }),
  ),
  model: z.string(),
  usage: z.strictObject({ prompt_tokens: z.int(), total_tokens: z.int() }),
})
