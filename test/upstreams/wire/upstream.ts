import type { Call, Received, Upstream } from '../../../src/upstreams/target.ts'
import { settingsFor } from '../targets.ts'
import type { Api } from './asks.ts'

/** What an upstream answers to a path. A text is its body; an object is JSON. */
export type Answers = Readonly<Record<string, object | string | { status: number; body: unknown }>>

export function received(status: number, body: unknown, headers: Received['headers'] = {}): Received {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const bytes = async function* () {
    yield Buffer.from(text)
  }
  return { status, headers, body: Object.assign(bytes(), { cancel: () => {} }) }
}

/** An upstream that answers these paths, and 404 to others. `calls` are what it was asked. */
export function answering(api: Api, answers: Answers): { upstream: Upstream; calls: Call[] } {
  const calls: Call[] = []
  const send = async (call: Call): Promise<Received> => {
    calls.push(call)
    const answer = answers[call.path]
    if (answer === undefined) return received(404, { detail: 'Not Found' })
    if (typeof answer === 'object' && 'status' in answer && 'body' in answer)
      return received(Number(answer.status), answer.body)
    return received(200, answer)
  }
  const settings = settingsFor('http://upstream.example', { api, key: 'the key' })
  return { upstream: { settings, connection: { send, close: async () => {} } }, calls }
}
