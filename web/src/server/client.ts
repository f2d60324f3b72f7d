import { type Signal, signal } from '@preact/signals'
import { stored } from '../stored.ts'

/** The API key of this browser; empty: none. It stays here, and goes to this server only. */
export const apiKey = stored('oriel.key', '')

/** What the server has told whoever has this key. With another one, or none, it is as at first. */
export function perKey<Told>(first: Told): Signal<Told> {
  const told = signal(first)
  apiKey.subscribe(() => {
    told.value = first
  })
  return told
}

/** Whether the server has refused the last request for want of a key that is allowed to. */
export const keyWanted = perKey(false)

/** What the server answered instead of what was asked for. */
export class ServerError extends Error {
  /** 0: the server cannot be reached. */
  readonly status: number
  readonly code: string | undefined
  /** The part of the request that is at fault. */
  readonly param: string | undefined

  constructor(message: string, status: number, { code, param }: { code?: string; param?: string } = {}) {
    super(message)
    this.status = status
    this.code = code
    this.param = param
  }

  /** Whether another key would be let in. */
  get wantsKey(): boolean {
    return this.status === 401 || this.status === 403
  }
}

/** Why a text cannot be a key; empty: it can. */
export function keyProblem(key: string): string {
  if (/^[!-~]+$/.test(key)) return ''
  return key.includes('…')
    ? 'This is only the beginning of a key: the “…” stands for the rest of it.'
    : 'A key has neither spaces nor letters with accents: this is not one.'
}

/** Sends a request as it is, with the key of this browser. @throws ServerError if that is none; as `fetch` does */
export async function fetchWithKey(path: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers)
  if (apiKey.value !== '') {
    const problem = keyProblem(apiKey.value)
    if (problem !== '') throw new ServerError(problem, 401)
    headers.set('authorization', `Bearer ${apiKey.value}`)
  }
  return fetch(path, { ...init, headers })
}

interface Options {
  method?: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** Sent as JSON. */
  body?: unknown
  signal?: AbortSignal
}

/** @throws ServerError, and AbortError when the signal aborts */
export async function send(path: string, { method = 'GET', body, signal }: Options = {}): Promise<Response> {
  const content =
    body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  const response = await fetchWithKey(path, { method, signal: signal ?? null, ...content }).catch((error: unknown) => {
    if (isAbort(error)) throw error
    if (!(error instanceof ServerError)) throw new ServerError('The server cannot be reached.', 0)
    keyWanted.value = true
    throw error
  })
  if (response.status === 401) keyWanted.value = true
  if (response.ok) return response
  const { error } = (await response.json().catch(() => ({}))) as {
    error?: { message?: string; code?: string; param?: string }
  }
  throw new ServerError(error?.message ?? `The server answered with the status ${response.status}.`, response.status, {
    ...(error?.code ? { code: error.code } : {}),
    ...(error?.param ? { param: error.param } : {}),
  })
}

const isAbort = (error: unknown): boolean => error instanceof DOMException && error.name === 'AbortError'

/** The JSON of an answer. @throws as `send` does */
export async function get<Answer>(path: string, options: Options = {}): Promise<Answer> {
  const response = await send(path, options)
  return response.json().catch((error: unknown) => {
    if (isAbort(error)) throw error
    // It broke off, or comes from something before the server.
    throw new ServerError('The server did not answer as expected.', response.status)
  })
}

/** Reads what a page shows, or why the server does not tell it. What comes when the key has been changed is for nobody. */
export async function readInto<Told>(
  error: Signal<ServerError | undefined>,
  read: () => Promise<Told>,
  show: (told: Told) => void,
): Promise<void> {
  const key = apiKey.value
  try {
    const told = await read()
    if (apiKey.value !== key) return
    show(told)
    error.value = undefined
  } catch (failure) {
    if (!(failure instanceof ServerError)) throw failure
    if (apiKey.value === key) error.value = failure
  }
}

/** The events of a stream of server-sent events, as JSON, until it ends. @throws as `send` does */
export async function* events<Event>(path: string, options: Options = {}): AsyncGenerator<Event> {
  const { body } = await send(path, options)
  if (body === null) return
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      text += value
      const frames = text.split(/\r?\n\r?\n/)
      text = frames.pop() ?? ''
      for (const frame of frames) {
        const data = frame.split(/\r?\n/).flatMap((line) => (line.startsWith('data:') ? [line.slice(5).trim()] : []))
        if (data.length > 0 && data[0] !== '[DONE]') yield JSON.parse(data.join('\n')) as Event
      }
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}
