import type { Figures, SeenPage, SeenRecording } from './conversation.ts'
import type { ChatRequest } from './request.ts'

/** The `usage` of an answer, with `usage: {include: true}`. */
export interface Usage {
  prompt_tokens: number
  completion_tokens: number
  prompt_tokens_details?: { cached_tokens?: number; image_tokens?: number }
  cost?: number
  pictures?: (SeenPage & { param: string })[]
  videos?: SeenVideo[]
  audio?: SeenAudio[]
}

interface SeenVideo {
  param: string
  seen: { width: number; height: number }
  tokens: number
  taken: number
  frames: { time: number; cached: string | null; encode_ms: number }[]
}

interface SeenAudio {
  param: string
  seconds: number
  tokens: number
  cached: string | null
  encode_ms: number
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
    recordings: recordingsOf(usage, messages.length - 1).slice(firstPart),
  }
}

const nothing: SeenRecording = {
  taken: 0,
  times: [],
  width: 0,
  height: 0,
  seconds: 0,
  tokens: 0,
  cached: true,
  encode_ms: 0,
}

/** The videos and audio of one message, by the index of their part. What is heard of a video is one with it. */
function recordingsOf({ videos = [], audio = [] }: Usage, message: number): (SeenRecording | null)[] {
  const seen = videos.map(({ param, seen, tokens, taken, frames }) => ({
    ...nothing,
    ...{ param, width: seen.width, height: seen.height, tokens, taken, times: frames.map(({ time }) => time) },
    cached: frames.every(({ cached }) => cached !== null),
    encode_ms: sumOf(frames.map(({ encode_ms }) => encode_ms)),
  }))
  const heard = audio.map(({ cached, ...one }) => ({ ...nothing, ...one, cached: cached !== null }))
  return byPart([...seen, ...heard], message).map((all) => (all.length === 0 ? null : together(all)))
}

const together = (all: readonly SeenRecording[]): SeenRecording => ({
  ...(all[0] ?? nothing),
  seconds: sumOf(all.map(({ seconds }) => seconds)),
  tokens: sumOf(all.map(({ tokens }) => tokens)),
  cached: all.every(({ cached }) => cached),
  encode_ms: sumOf(all.map(({ encode_ms }) => encode_ms)),
})

const sumOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0)

/** What is told of the parts of one message, by their index. */
function byPart<Told>(all: readonly (Told & { param: string })[], message: number): Omit<Told, 'param'>[][] {
  const parts: Omit<Told, 'param'>[][] = []
  for (const { param, ...told } of all) {
    const [, of, part] = /^messages\[(\d+)\]\.content\[(\d+)\]/.exec(param) ?? []
    if (Number(of) !== message) continue
    const at = Number(part)
    while (parts.length <= at) parts.push([])
    parts[at]?.push(told)
  }
  return parts
}
