import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import { chat, type Turn } from './clients.ts'
import { type Image, newImage } from './images.ts'
import type { Server } from './servers.ts'

/** What answers: a front, or an upstream itself. */
export type Endpoint = Pick<Server, 'url' | 'model'>

/** Of all streams that share it. */
export interface Counts {
  tokens: number
  /** Streams that have begun and not ended. */
  open: number
}

// Many requests listen to one signal.
setMaxListeners(0)
const agent = new Agent({ bodyTimeout: 0, headersTimeout: 0 })

/** A question, or one about a picture that was never sent before. */
export async function newQuestion(number: number, hasPicture: boolean): Promise<object[]> {
  const text = { type: 'text', text: `Question ${number}: what is it?` }
  if (!hasPicture) return [text]
  // So much grain makes about 100 kB.
  return [{ type: 'image_url', image_url: { url: await newImage(640, 480, 34) } }, text]
}

/** @returns the time to the first text, in ms */
export async function firstToken(endpoint: Endpoint, content: unknown): Promise<number> {
  const begun = performance.now()
  const counts = { tokens: 0, open: 0 }
  let time = Number.NaN
  await read(endpoint, content, 4, counts, () => {
    if (Number.isNaN(time) && counts.tokens > 0) time = performance.now() - begun
  })
  return time
}

/** @returns tokens per second of all streams together. One event may have many, so those that were asked for count. */
export async function speedOf(endpoint: Endpoint, streams: number, tokens: number): Promise<number> {
  const begun = performance.now()
  const counts = { tokens: 0, open: 0 }
  await Promise.all(Array.from({ length: streams }, () => stream(endpoint, tokens, counts)))
  return (1000 * streams * tokens) / (performance.now() - begun)
}

export const stream = (endpoint: Endpoint, tokens: number, counts: Counts, signal?: AbortSignal): Promise<void> =>
  read(endpoint, 'Say some words.', tokens, counts, () => {}, signal)

async function read(
  { url, model }: Endpoint,
  content: unknown,
  tokens: number,
  counts: Counts,
  onChunk: () => void,
  signal?: AbortSignal,
): Promise<void> {
  const { statusCode, body } = await request(`${url}/v1/chat/completions`, {
    method: 'POST',
    dispatcher: agent,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      ...{ model, messages: [{ role: 'user', content }], max_tokens: tokens },
      ...{ stream: true, ignore_eos: true },
    }),
    ...(signal && { signal }),
  })
  if (statusCode !== 200) throw new Error(`status ${statusCode}: ${await body.text()}`)
  counts.open++
  try {
    let rest = ''
    for await (const bytes of body) {
      const lines = (rest + bytes).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) if (line.includes('"content":"') && !line.includes('"content":""')) counts.tokens++
      onChunk()
    }
  } finally {
    counts.open--
  }
}

/**
 * Chats side by side, each about its own picture.
 * @param next gives the server of the next request
 * @param pauseMs before each turn, on average
 * @returns the tokens of their prompts that were in a KV cache
 */
export async function cachedIn(
  next: () => Server,
  pictures: readonly Image[],
  turns: number,
  pauseMs: number,
): Promise<number> {
  const chats = pictures.map(async (image, number) => {
    const said: Turn[] = [{ role: 'user', parts: [{ image }, { text: `What is picture ${number}?` }] }]
    let cached = 0
    for (let turn = 0; turn < turns; turn++) {
      await sleep(2 * pauseMs * Math.random())
      const { text, cachedTokens } = await chat(next(), said, 12)
      cached += cachedTokens
      said.push(
        { role: 'assistant', parts: [{ text }] },
        { role: 'user', parts: [{ text: `And what else, ${turn}?` }] },
      )
    }
    return cached
  })
  return (await Promise.all(chats)).reduce((sum, one) => sum + one, 0)
}
