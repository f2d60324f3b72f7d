import type { Image } from './images.ts'
import type { Server } from './servers.ts'

export type Part = { text: string } | { image: Image }

export interface Turn {
  role: 'user' | 'assistant'
  parts: readonly Part[]
}

export interface Answer {
  text: string
  tokens: number
  promptTokens: number
  cachedTokens: number
  /** The time from the request to the first text, in ms. */
  firstToken: number
  /** The time of each piece of text, by `performance.now()`. */
  arrivals: readonly number[]
}

export const ask = (...parts: Part[]): Turn[] => [{ role: 'user', parts }]

/**
 * Streams a greedy answer of exactly `maxTokens` tokens.
 * @param arrivals receives the time of each piece of text as it arrives
 * @param more fields of the request's body
 */
export async function chat(
  server: Server,
  turns: readonly Turn[],
  maxTokens: number,
  signal?: AbortSignal,
  arrivals: number[] = [],
  more: object = {},
): Promise<Answer> {
  const start = performance.now()
  const options = { stream: true, stream_options: { include_usage: true } }
  const response = await post(server, { ...bodyOf(server, turns, maxTokens), ...options, ...more }, signal)
  const answer = { text: '', tokens: 0, promptTokens: 0, cachedTokens: 0, firstToken: Number.NaN }
  for await (const chunk of chunksOf(response)) {
    if (chunk.error) throw new Error(`${server.name} failed during the stream: ${JSON.stringify(chunk.error)}`)
    const text = chunk.choices?.[0]?.delta?.content
    if (text) {
      arrivals.push(performance.now())
      answer.text += text
    }
    if (chunk.usage) {
      answer.tokens = chunk.usage.completion_tokens
      answer.promptTokens = chunk.usage.prompt_tokens
      answer.cachedTokens = chunk.usage.prompt_tokens_details?.cached_tokens ?? 0
    }
  }
  return { ...answer, firstToken: (arrivals[0] ?? Number.NaN) - start, arrivals }
}

/** The fields that hold an answer to a JSON Schema. It may end when the schema is fulfilled. */
export const heldTo = (schema: object) => ({
  ignore_eos: false,
  response_format: { type: 'json_schema', json_schema: { name: 'answer', schema, strict: true } },
})

/** Requests one token, without streaming, with `detail: low`. @returns the time outside the engine, in ms */
export async function gatewayTime(server: Server, image: Image, question: string): Promise<number> {
  const body = bodyOf(server, ask({ image }, { text: question }), 1, 'low')
  const start = performance.now()
  const response = await post(server, body)
  await response.text()
  const total = performance.now() - start
  // The time of prefill includes encoding.
  return total - timeOf(response, ['queue', 'prefill', 'generation'])
}

/** Requests one token about an image. @returns Oriel's time to encode the image, in ms */
export async function encodeTime(server: Server, image: Image): Promise<number> {
  const response = await post(server, bodyOf(server, ask({ image }), 1))
  await response.text()
  return timeOf(response, ['encode'])
}

/** The duration of a phase in ms, from a `server-timing` header like `queue;dur=1.0, prefill;dur=2.0`. */
function timeOf({ headers }: Response, phases: readonly string[]): number {
  const timings = headers.get('server-timing') ?? ''
  const times = new Map(timings.split(', ').map((entry) => entry.split(';dur=') as [string, string]))
  return phases.reduce((sum, phase) => sum + Number(times.get(phase)), 0)
}

function bodyOf(server: Server, turns: readonly Turn[], maxTokens: number, detail = 'high') {
  const messages = turns.map(({ role, parts }) => ({
    role,
    content:
      role === 'assistant'
        ? parts.map((part) => ('text' in part ? part.text : '')).join('')
        : parts.map((part) =>
            'text' in part
              ? { type: 'text', text: part.text }
              : { type: 'image_url', image_url: { url: part.image, detail } },
          ),
  }))
  return { model: server.model, messages, max_tokens: maxTokens, temperature: 0, ignore_eos: true }
}

async function post(server: Server, body: object, signal?: AbortSignal): Promise<Response> {
  const send = () =>
    fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: signal ?? null,
    })
  // llama-server closes idle connections after five seconds, which can fail a request on a reused connection.
  const response = await send().catch((error) => (signal?.aborted ? Promise.reject(error) : send()))
  if (!response.ok) throw new Error(`${server.name} answered ${response.status}: ${await response.text()}`)
  return response
}

interface Chunk {
  error?: object
  choices?: { delta?: { content?: string | null } }[]
  usage?: {
    prompt_tokens: number
    completion_tokens: number
    prompt_tokens_details?: { cached_tokens?: number }
  } | null
}

async function* chunksOf({ body }: Response): AsyncGenerator<Chunk> {
  if (body === null) return
  const decoder = new TextDecoder()
  let rest = ''
  for await (const bytes of body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines)
      if (line.startsWith('data: ') && line !== 'data: [DONE]') yield JSON.parse(line.slice('data: '.length))
  }
}
