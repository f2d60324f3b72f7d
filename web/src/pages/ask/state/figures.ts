import type { Figures, SeenPage } from './conversation.ts'
import type { ChatRequest } from './request.ts'

/** The `usage` of an answer, with `usage: {include: true}`. */
export interface Usage {
  prompt_tokens: number
  completion_tokens: number
  prompt_tokens_details?: { cached_tokens?: number; image_tokens?: number }
  cost?: number
  pictures?: (SeenPage & { param: string })[]
}

/** @param firstPart the index of the first picture of the question among the parts of the last message */
export function figuresOf(
  usage: Usage,
  metrics: Readonly<Record<string, string>> = {},
  { messages }: ChatRequest,
  firstPart: number,
): Figures {
  const { prompt_tokens, completion_tokens, prompt_tokens_details: details, cost = 0, pictures = [] } = usage
  const ms = (name: string): number => 1000 * Number(metrics[name] ?? 0)
  const queue = ms('prefill-queue-duration')
  const encode = ms('image-encode-duration')
  const prefill = ms('prefill-duration')
  const media = Math.max(0, ms('server-time-to-first-token') - queue - encode - prefill)
  return {
    promptTokens: prompt_tokens,
    outputTokens: completion_tokens,
    cachedTokens: details?.cached_tokens ?? 0,
    imageTokens: details?.image_tokens ?? 0,
    cost,
    phases: { queue, media, encode, prefill, generation: ms('generation-duration') },
    pictures: byPart(pictures, messages.length - 1).slice(firstPart),
  }
}

/** The pages of the pictures of one message, by the index of their part. */
function byPart(pictures: NonNullable<Usage['pictures']>, message: number): SeenPage[][] {
  const parts: SeenPage[][] = []
  for (const { param, ...page } of pictures) {
    const [, of, part] = /^messages\[(\d+)\]\.content\[(\d+)\]/.exec(param) ?? []
    if (Number(of) !== message) continue
    const at = Number(part)
    while (parts.length <= at) parts.push([])
    parts[at]?.push(page)
  }
  return parts
}
