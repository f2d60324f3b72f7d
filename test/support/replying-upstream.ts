import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'

/** A request that an upstream got. */
export interface Heard {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it
  readonly body: any
}

export type Reply = (response: ServerResponse, heard: Heard) => unknown

export interface ReplyingUpstream {
  readonly url: string
  readonly heard: Heard[]
  /** How it replies from now on. */
  reply: Reply
  /** Requests whose client left before the end of the reply. */
  left: number
  close(): Promise<void>
}

/** A stream of server-sent events, in one piece. */
export const streaming =
  (stream: string): Reply =>
  (response) =>
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end(stream)

export const failing =
  (status: number, body: unknown, headers: Record<string, string> = {}): Reply =>
  (response) =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))

/** A server on loopback that replies as a test says. */
export async function startUpstream(reply: Reply = failing(503, {})): Promise<ReplyingUpstream> {
  const heard: Heard[] = []
  const server = createServer(async (request, response) => {
    response.on('close', () => {
      if (!response.writableFinished) upstream.left++
    })
    const body = request.method === 'POST' ? await json(request) : null
    const one = { path: request.url ?? '', headers: request.headers, body }
    heard.push(one)
    await upstream.reply(response, one)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const upstream: ReplyingUpstream = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    heard,
    reply,
    left: 0,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  return upstream
}
