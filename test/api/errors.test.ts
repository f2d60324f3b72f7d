import { afterEach, describe, expect, it } from 'vitest'
import { type ErrorKind, OrielError } from '../../src/errors.ts'
import { postJson } from '../support/http.ts'
import { endEvents, promptEvent, startScripted, startWords, textEvent } from '../support/scripted.ts'

let close = async (): Promise<void> => {}
afterEach(() => close())

async function failing(kind: ErrorKind): Promise<string> {
  const server = await startScripted(() => {
    throw new OrielError(kind, 'Said why.', { code: 'some_code', param: 'messages[0]', retryAfter: 7 })
  })
  close = server.close
  return server.url
}

const ask = (url: string, body: object = {}, headers: Record<string, string> = {}): Promise<Response> =>
  postJson(url, { model: 'scripted', messages: [{ role: 'user', content: 'Hi' }], max_tokens: 5, ...body }, { headers })

/** Kind, and its status for OpenAI, Novita, Anthropic, and for Fireworks if that is another one than for OpenAI. */
const statuses: [ErrorKind, number, number, number, number?][] = [
  ['invalid', 400, 400, 400],
  ['unauthorized', 401, 401, 401],
  ['payment_required', 402, 403, 402],
  ['forbidden', 403, 403, 403],
  ['not_found', 404, 404, 404],
  ['timeout', 408, 408, 408],
  ['url_timeout', 400, 408, 400, 408],
  ['conflict', 409, 409, 409],
  ['precondition_failed', 412, 412, 412],
  ['too_large', 413, 413, 413],
  ['unsupported_media', 415, 415, 415],
  ['unreadable_media', 422, 422, 422],
  ['rate_limited', 429, 429, 429],
  ['overloaded', 503, 503, 529],
  ['engine_failed', 503, 503, 503],
  ['internal', 500, 500, 500],
  ['not_implemented', 501, 501, 501],
]

describe('an error', () => {
  it.each(statuses)(
    'of the kind %s has its status in every dialect',
    async (kind, usual, novita, anthropic, fireworks = usual) => {
      const url = await failing(kind)
      for (const [path, status] of [
        ['/v1/chat/completions', usual],
        ['/inference/v1/chat/completions', fireworks],
        ['/openai/v1/chat/completions', novita],
        ['/v3/openai/chat/completions', novita],
        ['/v1/messages', anthropic],
      ] as const) {
        const response = await ask(url + path)
        expect([path, response.status]).toEqual([path, status])
        expect(response.headers.get('retry-after')).toBe('7')
      }
    },
  )

  it('has the body of each dialect', async () => {
    const url = await failing('rate_limited')
    const error = { message: 'Said why.', type: 'rate_limit_error', param: 'messages[0]', code: 'some_code' }
    expect(await (await ask(`${url}/v1/chat/completions`)).json()).toEqual({ error })
    expect(await (await ask(`${url}/inference/v1/chat/completions`)).json()).toEqual({
      error: { object: 'error', ...error },
    })
    expect(await (await ask(`${url}/openai/chat/completions`)).json()).toEqual({
      code: 429,
      reason: 'RATE_LIMIT_EXCEEDED',
      message: 'Said why.',
      metadata: {},
      error,
    })
    expect(await (await ask(`${url}/v1/messages`, {}, { 'x-request-id': 'mine' })).json()).toEqual({
      type: 'error',
      error: { type: 'rate_limit_error', message: 'messages[0]: Said why.' },
      request_id: 'mine',
    })
  })

  it('names the part of the request in its message where its dialect has no place for it, once', async () => {
    const parts = [
      ['messages[1].images[0]', 'It is damaged.', 'messages[1].images[0]: It is damaged.'],
      ['messages[1].role', 'messages[1].role must be "user".', 'messages[1].role must be "user".'],
      ['model', 'The model was not found.', 'The model was not found.'],
    ] as const
    for (const [param, message, shown] of parts) {
      const server = await startScripted(() => {
        throw new OrielError('invalid', message, { param })
      })
      close = server.close
      expect(await (await ask(`${server.url}/v1/messages`)).json()).toMatchObject({ error: { message: shown } })
      expect(await (await ask(`${server.url}/api/chat`)).json()).toEqual({ error: shown })
      await close()
    }
  })

  it('in the middle of an answer names the parameter as the request does, in a stream too', async () => {
    const failure = new OrielError('invalid', 'Too ambiguous.', { param: 'grammar', code: 'invalid_grammar' })
    const server = await startWords(['Hello'], failure)
    close = server.close
    const tool = { type: 'function', function: { name: 'look', parameters: { type: 'object' } } }
    const forced = { tools: [tool], tool_choice: 'required' }
    for (const [path, body, param] of [
      ['/v1/chat/completions', {}, 'response_format'],
      ['/v1/chat/completions', forced, 'tools'],
      ['/v1/completions', { prompt: 'Hi' }, 'response_format'],
      ['/v1/responses', { input: 'Hi' }, 'text.format'],
    ] as const) {
      const whole = await ask(server.url + path, body)
      expect([path, whole.status, await whole.json()]).toMatchObject([path, 400, { error: { param } }])
    }
    const stream = await (await ask(`${server.url}/v1/chat/completions`, { stream: true })).text()
    expect(stream).toContain('"param":"response_format"')
  })

  it('belongs to the dialect of the endpoint, or else of the nearest endpoint or base above it', async () => {
    const url = await failing('internal')
    const keysOf = async (path: string, method = 'GET') =>
      Object.keys((await (await fetch(url + path, { method })).json()) as object)
    const openai = ['error']
    const novita = ['code', 'reason', 'message', 'metadata', 'error']
    const anthropic = ['type', 'error', 'request_id']
    expect(await keysOf('/v1/messages')).toEqual(anthropic)
    expect(await keysOf('/openai/v1/messages/count_tokens?a=b')).toEqual(anthropic)
    expect(await keysOf('/v1/%6Dessages', 'POST')).toEqual(anthropic)
    expect(await keysOf('/v1/messages/batches')).toEqual(anthropic)
    expect(await keysOf('/messages/batches')).toEqual(anthropic)
    expect(await keysOf('/openai/v1/nothing')).toEqual(novita)
    expect(await keysOf('/openai/nothing')).toEqual(novita)
    expect(await keysOf('/openaiv1')).toEqual(openai)
    expect(await keysOf('/elsewhere/messages')).toEqual(openai)
  })

  it('has the reason MODEL_NOT_FOUND for a missing model under Novita', async () => {
    const url = await failing('internal')
    expect(await (await ask(`${url}/openai/v1/chat/completions`, { model: 'gpt-5' })).json()).toMatchObject({
      code: 404,
      reason: 'MODEL_NOT_FOUND',
    })
  })
})

describe('unknown parameters', () => {
  const start = async (strict: boolean): Promise<string> => {
    const server = await startScripted(
      async function* () {
        yield promptEvent
        yield textEvent('Hello')
        yield* endEvents(1)
      },
      { strict },
    )
    close = server.close
    return `${server.url}/v1/chat/completions`
  }

  it('are named in a header', async () => {
    const response = await ask(await start(false), { wibble: 1, über: 2 })
    expect(response.status).toBe(200)
    expect(response.headers.get('x-oriel-ignored-parameters')).toBe('wibble, %C3%BCber')
  })

  it('are those too that have an effect in chats only', async () => {
    const completing = async (strict: boolean) => {
      const url = (await start(strict)).replace('/chat', '')
      return postJson(url, { model: 'scripted', prompt: 'Hi', prompt_truncate_len: 5 })
    }
    expect((await completing(false)).headers.get('x-oriel-ignored-parameters')).toBe('prompt_truncate_len')
    await close()
    const refused = await completing(true)
    expect([refused.status, await refused.json()]).toMatchObject([400, { error: { param: 'prompt_truncate_len' } }])
  })

  it('are refused by a strict server', async () => {
    const response = await ask(await start(true), { wibble: 1 })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({
      error: { param: 'wibble', code: 'unknown_parameter', message: '"wibble" is not a parameter of this endpoint.' },
    })
  })
})
