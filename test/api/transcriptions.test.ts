import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Ask, Backend } from '../../src/app.ts'
import { plainBackend } from '../support/plain-backend.ts'
import { serveBackend } from '../support/scripted.ts'

/** Seconds that its audio has. */
const seconds = 64.5

/** Hears what these texts say: one for each question. */
function listeningBackend() {
  const asks: Ask[] = []
  const says: string[] = []
  const plain = plainBackend('ears')
  return {
    ...plain,
    asks,
    says,
    info: { ...plain.info, inputs: ['audio'] as const },
    cut: (async ({ attachments: [audio] }, { longest }) => {
      if (audio === undefined) throw new Error('nothing to cut')
      const starts = Array.from({ length: Math.ceil(seconds / longest) }, (_, index) => index * longest)
      return starts.map((start) => ({ ...audio, clip: { start, end: Math.min(seconds, start + longest) } }))
    }) satisfies Backend['cut'],
    async answer(ask: Ask, signal: AbortSignal) {
      const words = (says[asks.push(ask) - 1] ?? '').split(/(?<= )/)
      const { events: _, ...answer } = await plain.answer(ask, signal)
      return {
        ...answer,
        usage: { ...answer.usage, promptTokens: 20, audioTokens: [9] },
        events: (async function* () {
          for (const [before, text] of words.entries()) {
            const tokens = [{ id: before, bytes: Buffer.from(text), logprob: -0.5, top: [] }]
            const pieces = [{ kind: 'text' as const, text }]
            yield { type: 'part' as const, choice: 0, completionTokens: before + 1, raw: text, tokens, pieces }
          }
          const completionTokens = words.length
          const ends = { stop: null, completionTokens, reasoningTokens: 0 }
          yield { type: 'end' as const, choice: 0, reason: 'stop' as const, ...ends }
          const timings = { queue: 0, encode: 0, prefill: 0, firstToken: 0, generation: 0 }
          yield { type: 'done' as const, tally: { completionTokens, reasoningTokens: 0, timings } }
        })(),
      }
    },
  }
}

describe('transcriptions', () => {
  const backend = listeningBackend()
  let server: { url: string; close(): Promise<void> }
  let client: OpenAI
  beforeAll(async () => {
    server = await serveBackend(backend)
    client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 })
  })
  afterAll(() => server.close())
  beforeEach(() => {
    backend.asks.length = 0
    backend.says.length = 0
  })

  const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 251))
  const audio = () => toFile(bytes, 'call.wav', { type: 'audio/wav' })
  const post = async (fields: Record<string, string | Blob>, path = 'transcriptions') => {
    const form = new FormData()
    for (const [name, value] of Object.entries(fields)) form.append(name, value)
    const response = await fetch(`${server.url}/v1/audio/${path}`, { method: 'POST', body: form })
    return { status: response.status, type: response.headers.get('content-type'), text: await response.text() }
  }
  const file = new Blob([bytes])

  it('are a question about the file, whose bytes arrive whole', async () => {
    backend.says.push(' Hello there. ')
    const answer = await client.audio.transcriptions.create({
      ...{ model: 'ears', file: await audio(), language: 'de', prompt: 'A call of Oriel', temperature: 0.2 },
    })
    expect(answer).toEqual({
      text: 'Hello there.',
      usage: {
        ...{ type: 'tokens', input_tokens: 20, output_tokens: 3, total_tokens: 23 },
        input_token_details: { text_tokens: 11, audio_tokens: 9 },
      },
    })
    const [ask] = backend.asks
    expect(ask?.attachments).toMatchObject([{ kind: 'audio', param: 'file' }])
    expect(bytes.equals(ask?.attachments[0]?.bytes ?? Buffer.alloc(0))).toBe(true)
    expect(ask?.settings.sampling.temperature).toBe(0.2)
    expect(JSON.stringify(ask?.prompt)).toMatch(/Transcribe.*German.*A call of Oriel/)
  })

  it('take a file of 25 MB, whether its client tells its size or not, and say what is too large', async () => {
    const large = Buffer.alloc(25 * 1024 * 1024, bytes)
    const form = new FormData()
    form.append('model', 'ears')
    form.append('file', new Blob([large]))
    const { headers, body } = new Response(form)
    const whole = await post({ model: 'ears', file: new Blob([large]) })
    const streamed = await fetch(`${server.url}/v1/audio/transcriptions`, {
      ...{ method: 'POST', headers, body, duplex: 'half' },
    } as RequestInit)
    expect([whole.status, streamed.status]).toEqual([200, 200])
    for (const { attachments } of backend.asks)
      expect(large.equals(attachments[0]?.bytes ?? Buffer.alloc(0))).toBe(true)
    const refused = await post({ model: 'ears', file: new Blob([Buffer.alloc(31_000_000)]) })
    expect([refused.status, refused.text]).toEqual([413, expect.stringMatching(/30000000 bytes/)])
  })

  it('are streamed as they are heard, without what names the language', async () => {
    backend.says.push('language English<asr_text> One two three. \n')
    const deltas: string[] = []
    const file = await audio()
    for await (const event of await client.audio.transcriptions.create({ model: 'ears', file, stream: true })) {
      if (event.type === 'transcript.text.delta') deltas.push(event.delta)
      else
        expect(event).toMatchObject({ type: 'transcript.text.done', text: 'One two three.', usage: { type: 'tokens' } })
    }
    expect(deltas).toEqual(['One', ' two', ' three.'])
  })

  it('are plain text', async () => {
    backend.says.push('Hello.')
    const { status, type, text } = await post({ model: 'ears', file, response_format: 'text' })
    expect([status, type, text]).toEqual([200, 'text/plain; charset=utf-8', 'Hello.\n'])
  })

  it('have the times of the pieces that are cut, of 30 seconds at most, without those in which nothing is said', async () => {
    backend.says.push('language English<asr_text>First.', 'language None<asr_text>', 'Last --> one.')
    const file = await audio()
    const verbose = await client.audio.transcriptions.create({
      ...{ model: 'ears', file, response_format: 'verbose_json', timestamp_granularities: ['segment'] },
    })
    expect(backend.asks.map(({ attachments }) => attachments[0]?.clip)).toEqual([
      { start: 0, end: 30 },
      { start: 30, end: 60 },
      { start: 60, end: 64.5 },
    ])
    expect(verbose).toMatchObject({
      ...{ task: 'transcribe', language: 'english', duration: 64.5, text: 'First. Last --> one.' },
      segments: [
        { id: 0, seek: 0, start: 0, end: 30, text: 'First.', avg_logprob: -0.5 },
        { id: 1, seek: 6000, start: 60, end: 64.5, text: 'Last --> one.' },
      ],
      usage: { type: 'duration', seconds: 65 },
    })
  })

  it('are subtitles', async () => {
    for (const [format, expected] of [
      ['srt', '1\n00:00:00,000 --> 00:00:30,000\nFirst.\n\n2\n00:01:00,000 --> 00:01:04,500\nLast -> one.\n'],
      ['vtt', 'WEBVTT\n\n00:00:00.000 --> 00:00:30.000\nFirst.\n\n00:01:00.000 --> 00:01:04.500\nLast -> one.\n'],
    ] as const) {
      backend.asks.length = 0
      backend.says.splice(0, 3, 'First.', '', 'Last --> one.')
      expect((await post({ model: 'ears', file, response_format: format })).text).toBe(expected)
    }
  })

  it('are translations too', async () => {
    backend.says.push('Hello.')
    expect(await client.audio.translations.create({ model: 'ears', file: await audio() })).toMatchObject({
      text: 'Hello.',
    })
    expect(JSON.stringify(backend.asks[0]?.prompt)).toMatch(/Translate the speech into English/)
  })

  it.each([
    [{ model: 'ears' }, 'file', /must be a file of audio.*found nothing/],
    [{ model: 'ears', file: 'text' }, 'file', /must be a file of audio.*found a string of 4 characters/],
    [{ file }, 'model', /must be a string; found nothing/],
    [{ model: 'ears', file, language: 'German' }, 'language', /must be the code of a language/],
    [{ model: 'ears', file, language: 'qqq' }, 'language', /must be the code of a language/],
    [{ model: 'ears', file, response_format: 'pdf' }, 'response_format', /must be "json", "text".*found "pdf"/],
    [{ model: 'ears', file, temperature: 'warm' }, 'temperature', /must be a number/],
    [{ model: 'ears', file, stream: 'true', response_format: 'srt' }, 'stream', /srt cannot be streamed/],
    [{ model: 'ears', file, 'timestamp_granularities[]': 'word' }, 'timestamp_granularities', /times of words/],
  ])('refuse what is not allowed: %#', async (fields, param, message) => {
    const { status, text } = await post(fields as Record<string, string | Blob>)
    expect([status, JSON.parse(text).error.param]).toEqual([400, expect.stringContaining(param)])
    expect(JSON.parse(text).error.message).toMatch(message)
  })

  it.each([
    ['a form without a boundary', { 'content-type': 'multipart/form-data' }, 'x', 400, /names no boundary/],
    ['half a form', { 'content-type': 'multipart/form-data; boundary=b' }, '--b\r\n', 400, /damaged or incomplete/],
    ['JSON', { 'content-type': 'application/json' }, '{}', 415, /must be a form/],
  ])('refuse %s', async (_, headers, body, expected, message) => {
    const response = await fetch(`${server.url}/v1/audio/transcriptions`, { method: 'POST', headers, body })
    const { error } = (await response.json()) as { error: { message: string } }
    expect([response.status, error.message]).toEqual([expected, expect.stringMatching(message)])
  })

  it('refuse several files and too many fields', async () => {
    const form = new FormData()
    for (let i = 0; i < 2; i++) form.append('file', file)
    const two = await fetch(`${server.url}/v1/audio/transcriptions`, { method: 'POST', body: form })
    expect([two.status, await two.text()]).toEqual([400, expect.stringContaining('more than 1 file')])
    const many = await post(Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`f${index}`, 'x'])))
    expect([many.status, many.text]).toEqual([400, expect.stringContaining('more than 100 fields')])
  })

  it('are refused elsewhere: other endpoints take JSON', async () => {
    const form = new FormData()
    form.append('model', 'ears')
    const response = await fetch(`${server.url}/v1/chat/completions`, { method: 'POST', body: form })
    expect([response.status, await response.text()]).toEqual([415, expect.stringContaining('must be JSON')])
  })
})

describe('the limits of an account', () => {
  it('are those of all pieces together, when the pieces are known', async () => {
    const backend = listeningBackend()
    const server = await serveBackend(backend, {}, { tiers: { few: { promptTokens: 150 } }, tier: 'few' })
    const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 })
    const ask = async (format: 'json' | 'srt') =>
      client.audio.transcriptions.create({
        ...{ model: 'ears', response_format: format, file: await toFile(Buffer.from('sound'), 'call.wav') },
      })
    try {
      await expect(ask('srt')).rejects.toMatchObject({
        status: 429,
        message: expect.stringMatching(/150 prompt tokens a minute, and this request alone has 2\d\d\./),
      })
      expect(backend.asks).toEqual([])
      await ask('json')
      expect(backend.asks).toHaveLength(1)
    } finally {
      await server.close()
    }
  })
})
