import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface ScriptedUpstream {
  readonly url: string
  /** Ids that it lists. */
  models: string[]
  /** What it was asked to answer: the key that it got, and the model. */
  readonly asked: { key: string | undefined; model: string }[]
  /** Ends answers that wait. */
  finish(): void
  close(): Promise<void>
}

/** Speaks the API of OpenAI. It answers with its name; a question with "wait" is answered to its end by `finish`. */
export async function scriptedUpstream(name: string, models: string[]): Promise<ScriptedUpstream> {
  const asked: ScriptedUpstream['asked'] = []
  const waiting: (() => void)[] = []
  const answer = (body: string, { headers }: IncomingMessage, to: ServerResponse): void => {
    const { model } = JSON.parse(body) as { model: string }
    asked.push({ key: headers.authorization, model })
    to.writeHead(200, { 'content-type': 'text/event-stream' })
    const send = (delta: object, rest: object = {}) =>
      to.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: null, ...rest }] })}\n\n`)
    send({ role: 'assistant', content: `${name} ` })
    const end = () => {
      send({ content: `has ${model}` })
      send({}, { finish_reason: 'stop' })
      const usage = { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 }
      to.end(`data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`)
    }
    if (body.includes('wait')) waiting.push(end)
    else end()
  }
  const server = createServer((from, to) => {
    const pieces: Buffer[] = []
    from.on('data', (piece: Buffer) => pieces.push(piece))
    from.on('end', () => {
      if (from.method === 'POST') return answer(Buffer.concat(pieces).toString(), from, to)
      const data = upstream.models.map((id) => ({ id, object: 'model' }))
      to.setHeader('content-type', 'application/json').end(JSON.stringify({ object: 'list', data }))
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const upstream: ScriptedUpstream = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ...{ models, asked },
    finish() {
      for (const end of waiting.splice(0)) end()
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return upstream
}
