import { signal } from '@preact/signals'
import { stored } from '../stored.ts'

/** The API key of this browser; empty: none. It stays here, and goes to this server only. */
export const apiKey = stored('oriel.key', '')

/** Whether the server has refused the last request for want of a key that is allowed to. */
export const keyWanted = signal(false)

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

/** Sends a request as it is, with the key of this browser. @throws as `fetch` does */
export function fetchWithKey(path: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers)
  if (apiKey.value !== '') headers.set('authorization', `Bearer ${apiKey.value}`)
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
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw new ServerError('The server cannot be reached.', 0)
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

/** The JSON of an answer. @throws as `send` does */
export const get = async <Answer>(path: string, options: Options = {}): Promise<Answer> =>
  (await send(path, options)).json() as Promise<Answer>

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
