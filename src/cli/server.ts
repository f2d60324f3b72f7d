import { EventSourceParserStream } from 'eventsource-parser/stream'
import { z } from 'zod'
import type { Message } from '../app.ts'
import type { Config } from '../config.ts'
import { type ErrorKind, OrielError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { configOf } from '../load-config.ts'
import type { Answered, Question } from './question.ts'

/** How long a server of this machine may take to say what it is, in ms: as long as one takes that computes on all cores. */
const probeTimeout = 3000
/** The same for a server that a person names, in ms. */
const namedTimeout = 5000

const listSchema = z.object({
  data: z.array(
    z.object({
      id: z.string(),
      owned_by: z.literal('oriel'),
      aliases: z.array(z.string()),
      state: z.string(),
    }),
  ),
})

/** A server of Oriel that runs, here or elsewhere. */
export interface RunningServer {
  readonly url: string
  readonly models: z.output<typeof listSchema>['data']
  /** @throws OrielError what the server answers, or that it went away */
  answer(model: string, question: Question): Promise<Answered>
}

/** The URL of the server that this machine would run, by its settings. */
export function urlHere({ host, port }: Pick<Config['server'], 'host' | 'port'>): string {
  const address = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${address.includes(':') ? `[${address}]` : address}:${port}`
}

/** The server that runs on this machine, if one does. @throws OrielError that it refuses, as without a key that it needs */
export async function serverHere(config: Config['server']): Promise<RunningServer | undefined> {
  if (config.port === 0) return undefined
  return find(urlHere(config), probeTimeout).catch((error: unknown) => {
    if (error instanceof OrielError) throw error
    return undefined
  })
}

/** A server by its URL. @throws OrielError if there is none */
export async function serverAt(url: string): Promise<RunningServer> {
  const origin = originOf(url)
  const found = await find(origin, namedTimeout).catch((cause: unknown) => {
    throw cause instanceof OrielError ? cause : unreachable(origin, cause)
  })
  if (found === undefined) throw notOriel(origin)
  return found
}

/** A JSON request to a server. @throws OrielError what it answers, that it cannot be reached, or that it is not Oriel's */
export async function askServer<Schema extends z.ZodType>(
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
  url: string,
  path: string,
  schema: Schema,
  body?: object,
): Promise<z.output<Schema>> {
  const signal = AbortSignal.timeout(namedTimeout)
  const sent = body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
  const response = await requestServer(method, url, path, { signal, ...sent })
  const text = await response.text().catch((cause: unknown) => {
    throw unreachable(originOf(url), cause)
  })
  const answer = schema.safeParse(parseJson(text))
  if (!answer.success) throw notOriel(originOf(url))
  return answer.data
}

/** A request to a server that may take long, with any body. @throws OrielError as `askServer` does */
export async function requestServer(
  method: string,
  url: string,
  path: string,
  init: RequestInit & { duplex?: 'half' } = {},
): Promise<Response> {
  const origin = originOf(url)
  const headers = { ...init.headers, ...keyHeader(origin) }
  const response = await fetch(`${origin}${path}`, { ...init, method, headers }).catch((cause: unknown) => {
    // What went wrong may be what was to be sent.
    for (let one = cause; one instanceof Error; one = one.cause) if (one instanceof OrielError) throw one
    throw unreachable(origin, cause)
  })
  if (response.ok) return response
  const answered = parseJson(await response.text().catch(() => ''))
  if (errorSchema.safeParse(answered).success) throw errorIn(answered, kindOf(response))
  // A proxy says in words of its own that it does not reach the server.
  throw response.status < 500 ? notOriel(origin) : unreachable(origin)
}

/** Keys of servers that this process runs itself, by their URLs. */
const ownKeys = new Map<string, string>()

/** To be called when this process has started a server with a key of its own. */
export const noteOwnKey = (url: string, key: string): void => void ownKeys.set(originOf(url), key)

/** Servers that need no key ignore it. */
function keyHeader(origin: string): Record<string, string> {
  const key = ownKeys.get(origin) ?? configOf({}).apiKey
  return key === null ? {} : { authorization: `Bearer ${key}` }
}

function originOf(url: string): string {
  const text = url.includes('://') ? url : `http://${url}`
  if (!URL.canParse(text) || !/^https?:/i.test(text))
    throw new OrielError('invalid', `${JSON.stringify(url)} is not the URL of a server, such as http://127.0.0.1:8080.`)
  return new URL(text).origin
}

const notOriel = (url: string): OrielError => new OrielError('invalid', `${url} is not a server of Oriel.`)

const unreachable = (url: string, cause?: unknown): OrielError =>
  new OrielError('timeout', `No server answers at ${url}.`, { code: 'no_server', cause })

async function find(url: string, timeoutMs: number): Promise<RunningServer | undefined> {
  const response = await fetch(`${url}/v1/models`, { headers: keyHeader(url), signal: AbortSignal.timeout(timeoutMs) })
  const body = parseJson(await response.text())
  if ([401, 403].includes(response.status) && errorSchema.safeParse(body).success) throw errorIn(body, kindOf(response))
  const list = listSchema.safeParse(body)
  if (!list.success) return undefined
  return { url, models: list.data.data, answer: (model, question) => answer(url, model, question) }
}

const chunkSchema = z.object({
  error: z.unknown().optional(),
  choices: z
    .array(
      z.object({
        delta: z.object({ content: z.string().nullish(), reasoning_content: z.string().nullish() }),
        finish_reason: z.string().nullish(),
      }),
    )
    .default([]),
  usage: z
    .object({
      prompt_tokens: z.number(),
      completion_tokens: z.number(),
      prompt_tokens_details: z.object({
        cached_tokens: z.number(),
        images: z.array(z.number()),
        video_tokens: z.number(),
        audio_tokens: z.number(),
      }),
    })
    .nullish(),
})

async function answer(
  url: string,
  model: string,
  { messages, schema, temperature, maxTokens, signal, onText = () => {} }: Question,
): Promise<Answered> {
  const start = performance.now()
  const body = {
    model,
    temperature,
    max_tokens: maxTokens,
    stream: true,
    stream_options: { include_usage: true },
    messages: messages.map(({ role, content }) => ({
      role,
      content: typeof content === 'string' ? content : content.map(chatPart),
    })),
    response_format:
      schema === undefined ? undefined : { type: 'json_schema', json_schema: { name: 'answer', schema, strict: true } },
  }
  const gone = (cause: unknown): OrielError =>
    signal.aborted ? new OrielError('cancelled', 'The answer was stopped.') : unreachable(url, cause)
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...keyHeader(url) },
    body: JSON.stringify(body),
    signal,
  }).catch((cause: unknown) => {
    throw gone(cause)
  })
  if (!response.ok || response.body === null)
    throw errorIn(parseJson(await response.text().catch(() => '')), kindOf(response))
  const answered: Answered = {
    ...{ model, text: '', reasoning: '', reason: 'stop' },
    usage: { prompt: 0, cached: 0, images: [], videos: 0, audio: 0, completion: 0 },
    timings: { firstText: 0, total: 0 },
  }
  try {
    const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream())
    for await (const { data } of events) {
      if (!data.startsWith('{')) continue
      const chunk = chunkSchema.parse(JSON.parse(data))
      if (chunk.error !== undefined) throw errorIn(chunk, 'engine_failed')
      for (const { delta, finish_reason } of chunk.choices) {
        answered.timings.firstText ||= delta.content || delta.reasoning_content ? performance.now() - start : 0
        if (delta.reasoning_content) onText(delta.reasoning_content, 'thought')
        if (delta.content) onText(delta.content, 'text')
        answered.reasoning += delta.reasoning_content ?? ''
        answered.text += delta.content ?? ''
        answered.reason = finish_reason ?? answered.reason
      }
      if (chunk.usage)
        answered.usage = {
          prompt: chunk.usage.prompt_tokens,
          cached: chunk.usage.prompt_tokens_details.cached_tokens,
          images: chunk.usage.prompt_tokens_details.images,
          videos: chunk.usage.prompt_tokens_details.video_tokens,
          audio: chunk.usage.prompt_tokens_details.audio_tokens,
          completion: chunk.usage.completion_tokens,
        }
    }
  } catch (error) {
    throw error instanceof OrielError ? error : gone(error)
  }
  answered.timings.total = performance.now() - start
  return answered
}

/** A part of a message as chats have it. */
function chatPart(part: Exclude<Message['content'], string>[number]): object {
  switch (part.type) {
    case 'text':
      return part
    case 'video':
      return { type: 'video_url', video_url: { url: String(part.video), detail: part.detail } }
    case 'audio':
      return { type: 'audio_url', audio_url: { url: String(part.audio) } }
    default:
      return { type: 'image_url', image_url: { url: String(part.image), detail: part.detail, pages: part.pages } }
  }
}

const kinds: Readonly<Record<number, ErrorKind>> = {
  401: 'unauthorized',
  402: 'payment_required',
  403: 'forbidden',
  404: 'not_found',
  408: 'timeout',
  409: 'conflict',
  412: 'precondition_failed',
  413: 'too_large',
  415: 'unsupported_media',
  422: 'unreadable_media',
  429: 'rate_limited',
  501: 'not_implemented',
  503: 'overloaded',
}

const kindOf = ({ status }: Response): ErrorKind => kinds[status] ?? (status < 500 ? 'invalid' : 'internal')

const errorSchema = z.object({
  error: z.object({ message: z.string(), param: z.string().nullish(), code: z.unknown().optional() }),
})

/** The error of a body in OpenAI's form. */
function errorIn(body: unknown, kind: ErrorKind): OrielError {
  const found = errorSchema.safeParse(body)
  if (!found.success) return new OrielError(kind, 'The server refuses the request without saying why.')
  const { message, param, code } = found.data.error
  const where = kind === 'unauthorized' ? ' Commands send the key that is in ORIEL_API_KEY.' : ''
  return new OrielError(kind, `${message}${where}`, {
    param: param ?? undefined,
    code: typeof code === 'string' ? code : undefined,
  })
}
