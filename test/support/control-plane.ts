import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

/** What a request is answered with: an object as JSON. */
export interface Answered {
  status?: number
  body: object | string
}

export interface ControlPlane {
  readonly url: string
  /** The requests so far. */
  readonly asked: { what: string; headers: IncomingHttpHeaders; body: string }[]
  /** How many requests there were of this kind: `GET /v1/models`. */
  count(what: string): number
  close(): Promise<void>
}

/** Of a server with one model, `pocket`, which has failed and has an alias. */
export const models: Answered = {
  body: { data: [{ id: 'pocket', owned_by: 'oriel', aliases: ['eyes'], state: 'failed' }] },
}

/**
 * A server on loopback that says what a test lets it say to commands.
 * @param answers by method and path: the first to the first request, and the last to all that follow
 */
export async function startControlPlane(answers: Readonly<Record<string, readonly Answered[]>>): Promise<ControlPlane> {
  const asked: { what: string; headers: IncomingHttpHeaders; body: string }[] = []
  const count = (what: string): number => asked.filter((one) => one.what === what).length
  const server = createServer(async (request, response) => {
    const what = `${request.method} ${request.url?.replace(/\?.*$/, '')}`
    const all = answers[what] ?? []
    const answer = all[count(what)] ?? all.at(-1) ?? { status: 404, body: { error: { message: `no ${what}` } } }
    asked.push({ what, headers: request.headers, body: await text(request) })
    response
      .writeHead(answer.status ?? 200, { 'content-type': 'application/json' })
      .end(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    count,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
