import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

interface Part {
  text?: string
  image_url?: { url: string; detail?: string }
}

/** A request to `/v1/chat/completions`, and the text of its answer. */
export interface Recorded {
  request: {
    model: string
    temperature?: number
    max_tokens?: number
    messages: { role: string; content: string | Part[] }[]
    response_format?: { json_schema: { schema: unknown } }
  }
  text: string
  reason: string
}

interface Choice {
  message?: { content: string | null }
  delta?: { content?: string | null }
  finish_reason?: string | null
}

/** Stands before a server, and keeps what passes through. */
export async function startRecorder(server: string) {
  const recorded: Recorded[] = []
  const recorder = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray()).toString()
    const { method = 'GET', url = '' } = request
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(`${server}${url}`, { method, headers, body: body || null })
    const text = await answer.text()
    if (url === '/v1/chat/completions' && answer.ok) recorded.push({ request: JSON.parse(body), ...answerIn(text) })
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' }).end(text)
  })
  await new Promise<void>((resolve) => recorder.listen(0, '127.0.0.1', resolve))
  const { port } = recorder.address() as AddressInfo
  return {
    port,
    /** What passed since the last call. */
    taken: () => recorded.splice(0),
    close: () => recorder.close(),
  }
}

/** @param body of an answer, whole or as a stream of events */
function answerIn(body: string): { text: string; reason: string } {
  const events = body.startsWith('data: ')
    ? [...body.matchAll(/^data: (\{.*)$/gm)].map(([, json = '']) => json)
    : [body]
  const choices = events.flatMap((event) => (JSON.parse(event) as { choices: Choice[] }).choices)
  return {
    text: choices.map(({ message, delta }) => message?.content ?? delta?.content ?? '').join(''),
    reason: choices.at(-1)?.finish_reason ?? '',
  }
}
