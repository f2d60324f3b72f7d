import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'

/**
 * What an upstream does instead of answering well:
 * - `silent`: it takes the request and says nothing;
 * - `half`: it breaks its answer off in the middle;
 * - `short`: its answer ends in the middle, as if it were whole;
 * - `busy`: it is at its limit, for a second;
 * - `failing`: it has an error of its own, whose text has addresses and keys;
 * - `reset`: it closes the connection;
 * - `nonsense`: what it answers is no JSON of its API.
 */
export type Fault = 'silent' | 'half' | 'short' | 'busy' | 'failing' | 'reset' | 'nonsense'

/** A request that it got. */
export interface Asked {
  readonly path: string
  readonly body: AskedBody
}

interface AskedBody {
  readonly model?: string
  readonly stream?: boolean
  readonly max_tokens?: number
  readonly messages?: readonly { readonly content: string | readonly { readonly type: string }[] }[]
}

export interface ScriptedUpstream {
  readonly url: string
  /** From now on. */
  fault: Fault | null
  /** Between two words of an answer, in ms. */
  pauseMs: number
  readonly asked: readonly Asked[]
  /** Answers that it gives now. */
  readonly running: number
  /** Clients that left before their answer had ended. */
  readonly left: number
  /** Ends it at once, with all that it answers. */
  close(): Promise<void>
}

/** Its text has a word for each token, so that usage can be counted. */
export const scriptedAnswer = 'One two three four five six seven eight nine ten.'
/** What a client must not see of an error. */
export const secrets = ['10.11.12.13', 'sk-upstream-secret']

/**
 * An upstream with the API of vLLM, for chats: it answers any of them with `scriptedAnswer`, streamed word by word or whole.
 * @param identity for TLS
 */
export async function startScriptedUpstream(model = 'scripted', identity?: Identity): Promise<ScriptedUpstream> {
  const asked: Asked[] = []
  const sockets = new Set<Socket>()
  const upstream = { url: '', fault: null as Fault | null, pauseMs: 0, asked, running: 0, left: 0, close }
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = request.url ?? ''
    if (request.method === 'GET') {
      if (path === '/health') return void response.writeHead(upstream.fault === 'failing' ? 500 : 200).end()
      if (path === '/v1/models')
        return json(response, 200, {
          object: 'list',
          data: [{ id: model, object: 'model', created: 1, max_model_len: 8192 }],
        })
      return json(response, 404, { error: { message: 'Not Found', code: 404 } })
    }
    const body = JSON.parse(await text(request)) as AskedBody
    asked.push({ path, body })
    upstream.running++
    response.once('close', () => {
      upstream.running--
      if (!response.writableFinished) upstream.left++
    })
    await answerAs(upstream.fault, upstream.pauseMs, body, response)
  }
  const listener: RequestListener = (request, response) =>
    void answer(request, response).catch(() => response.destroy())
  const server = identity ? createSecureServer({ ...identity }, listener) : createServer(listener)
  server.on('connection', (socket: Socket) => sockets.add(socket.on('close', () => sockets.delete(socket))))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  upstream.url = `${identity ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`
  return upstream

  async function close(): Promise<void> {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  }
}

function json(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}

async function answerAs(
  fault: Fault | null,
  pauseMs: number,
  body: AskedBody,
  response: ServerResponse,
): Promise<void> {
  if (fault === 'silent') return
  if (fault === 'reset') return void response.destroy()
  if (fault === 'busy')
    return json(response, 429, { error: { message: 'Too many requests', type: 'rate_limit' } }, { 'retry-after': '1' })
  if (fault === 'failing')
    return json(response, 500, { error: { message: `worker ${secrets.join(' with ')} died`, type: 'internal_error' } })
  if (fault === 'nonsense')
    return void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>A proxy answers.</html>')

  const words = scriptedAnswer.match(/\S+\s*/g) ?? []
  const taken = words.slice(0, body.max_tokens ?? words.length)
  const usage = usageOf(body, taken.length)
  const finish_reason = taken.length < words.length ? 'length' : 'stop'
  const base = { id: 'chatcmpl-1', created: 1, model: body.model }
  if (body.stream !== true) {
    const message = { role: 'assistant', content: taken.join('') }
    const whole = JSON.stringify({
      ...base,
      object: 'chat.completion',
      choices: [{ index: 0, message, finish_reason }],
      usage,
    })
    response.writeHead(200, { 'content-type': 'application/json' })
    if (fault === 'short') return void response.end(whole.slice(0, -20))
    if (fault !== 'half') return void response.end(whole)
    response.write(whole.slice(0, -20))
    await pause(20)
    return void response.destroy()
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const send = (data: object | string) =>
    response.write(
      `data: ${typeof data === 'string' ? data : JSON.stringify({ ...base, object: 'chat.completion.chunk', ...data })}\n\n`,
    )
  send({ choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }] })
  for (const [index, content] of taken.entries()) {
    if (pauseMs > 0) await pause(pauseMs)
    if (response.destroyed) return
    if (index === 3 && fault === 'half') return void setTimeout(() => response.destroy(), 20)
    if (index === 3 && fault === 'short') return void response.end()
    send({ choices: [{ index: 0, delta: { content }, finish_reason: null }] })
  }
  send({ choices: [{ index: 0, delta: {}, finish_reason }] })
  send({ choices: [], usage })
  send('[DONE]')
  response.end()
}

/** A token for each word, and ten for each image. */
function usageOf({ messages = [] }: AskedBody, completion_tokens: number) {
  const parts = messages.flatMap(({ content }) =>
    typeof content === 'string' ? [{ type: 'text', text: content }] : content,
  )
  const words = parts.flatMap((part) => ('text' in part ? String(part.text).split(/\s+/) : []))
  const prompt_tokens = words.length + 10 * parts.filter(({ type }) => type === 'image_url').length
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
}

/** In PEM. */
export interface Identity {
  readonly key: string
  readonly cert: string
}

/** Made by openssl. Only its certificate vouches for it. */
export function makeIdentity(): Identity {
  const subject = ['-subj', '/CN=scripted', '-addext', 'subjectAltName=IP:127.0.0.1']
  const options = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', '-']
  const made = execFileSync('openssl', ['req', ...options, ...subject], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const at = made.indexOf('-----BEGIN CERTIFICATE')
  return { key: made.slice(0, at), cert: made.slice(at) }
}
