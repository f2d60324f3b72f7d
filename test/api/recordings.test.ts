import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Ask } from '../../src/app.ts'
import { postJson } from '../support/http.ts'
import { plainBackend } from '../support/plain-backend.ts'
import { serveBackend } from '../support/scripted.ts'

const mp4 = `data:video/mp4;base64,${Buffer.from('\0\0\0\x18ftypmp42').toString('base64')}`
const wav = Buffer.from('RIFF\0\0\0\0WAVEfmt ', 'latin1').toString('base64')
const png = 'iVBORw0KGgo='

/** Answers about anything, and keeps what it was asked. */
function keenBackend() {
  const asks: Ask[] = []
  const plain = plainBackend('keen')
  return {
    asks,
    ...plain,
    info: { ...plain.info, inputs: ['image', 'video', 'audio'] as const },
    async answer(ask: Ask, signal: AbortSignal) {
      asks.push(ask)
      const { usage, events, ...answer } = await plain.answer(ask, signal)
      return {
        ...answer,
        usage: { ...usage, promptTokens: 200, imageTokens: [20], videoTokens: [60, 40], audioTokens: [30] },
        events: (async function* () {
          for await (const event of events)
            yield event.type === 'done' ? { ...event, tally: { ...event.tally, ...reported } } : event
        })(),
      }
    },
  }
}

/** What it says of its attachments. */
const reported = {
  images: [],
  videos: [
    {
      ...{ param: 'a', seconds: 12.3456, width: 640, height: 360, seen: { width: 320, height: 180 } },
      ...{ tokens: 60, found: 3, taken: 2, fetchMs: 1.26, decodeMs: 20 },
      frames: [
        { time: 0, tokens: 30, cached: null, encodeMs: 7.77 },
        { time: 6.1728, tokens: 30, cached: 'encoder' as const, encodeMs: 0 },
      ],
    },
  ],
  audio: [{ param: 'b', seconds: 4, tokens: 30, chunks: 1, cached: null, encodeMs: 3, fetchMs: 0, decodeMs: 2 }],
}

describe('videos and audio in requests', () => {
  const backend = keenBackend()
  let server: { url: string; close(): Promise<void> }
  beforeAll(async () => {
    server = await serveBackend(backend)
  })
  afterAll(() => server.close())
  beforeEach(() => void backend.asks.splice(0))

  const post = async (path: string, body: object) => {
    const response = await postJson(`${server.url}${path}`, { model: 'keen', ...body })
    return {
      status: response.status,
      body: (await response.json()) as { error?: { message: string; param: string } | null },
    }
  }
  const get = async (path: string) => {
    const response = await fetch(`${server.url}${path}`)
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  const read = async (path: string, body: object) => {
    const { status, body: answer } = await post(path, body)
    expect([status, answer.error ?? null]).toEqual([200, null])
    return backend.asks[0]
  }
  const chat = (...content: object[]) => ({ messages: [{ role: 'user', content }] })
  const sources = (ask: Ask | undefined) => ask?.attachments.map(({ kind, url, param }) => [kind, url, param])

  it('are read from chats in any order, in any turn and in results of tools', async () => {
    const ask = await read('/v1/chat/completions', {
      messages: [
        {
          role: 'user',
          content: [
            { type: 'video_url', video_url: { url: mp4 } },
            { type: 'text', text: 'and' },
            { type: 'image_url', image_url: { url: `data:image/png;base64,${png}` } },
            { type: 'input_audio', input_audio: { data: wav, format: 'wav' } },
          ],
        },
        {
          role: 'assistant',
          tool_calls: [{ id: 'a', type: 'function', function: { name: 'record', arguments: '{}' } }],
        },
        { role: 'tool', tool_call_id: 'a', content: [{ type: 'audio_url', audio_url: 'https://example.com/a.ogg' }] },
        { role: 'user', content: [{ type: 'video_url', video_url: 'https://example.com/a.webm' }] },
      ],
    })
    expect(sources(ask)).toEqual([
      ['video', mp4, 'messages[0].content[0].video_url'],
      ['image', `data:image/png;base64,${png}`, 'messages[0].content[2].image_url'],
      ['audio', wav, 'messages[0].content[3].input_audio'],
      ['audio', 'https://example.com/a.ogg', 'messages[2].content[0].audio_url'],
      ['video', 'https://example.com/a.webm', 'messages[3].content[0].video_url'],
    ])
    const [first] = ask?.prompt.kind === 'chat' ? ask.prompt.messages : []
    expect(first?.content.map(({ kind }) => kind)).toEqual(['video', 'text', 'image', 'audio'])
  })

  it('say which frames, how large and which part are wanted, in the object or beside it', async () => {
    const options = { detail: 'low', max_frames: 8, sample_fps: 0.5, spatial_limit: 360, choose: 'scenes' }
    const clip = { start: '1.5s', end: 10 }
    const ask = await read(
      '/v1/chat/completions',
      chat(
        { type: 'video_url', video_url: { url: mp4, ...options, clip } },
        { type: 'video_url', video_url: mp4, fps: 2, clip: { end: 3 } },
        { type: 'input_audio', input_audio: { data: wav, clip: { start: 4 } } },
      ),
    )
    expect(ask?.attachments).toMatchObject([
      {
        detail: 'low',
        frames: { most: 8, perSecond: 0.5, longestEdge: 360, choose: 'scenes' },
        clip: { start: 1.5, end: 10 },
      },
      { frames: { perSecond: 2 }, clip: { end: 3 } },
      { clip: { start: 4 } },
    ])
  })

  it('are in Responses as input_video, input_audio and input_file', async () => {
    const file = { type: 'input_file' }
    const ask = await read('/v1/responses', {
      input: [
        {
          role: 'user',
          content: [
            { type: 'input_video', video_url: mp4, max_frames: 4 },
            { type: 'input_audio', input_audio: { data: wav, format: 'wav' } },
            { ...file, filename: 'a.png', file_data: `data:image/png;base64,${png}` },
            { ...file, filename: 'call.mp3', file_data: 'data:application/octet-stream;base64,AAAA' },
            { ...file, file_data: mp4 },
            { ...file, file_data: wav },
            { ...file, file_url: 'https://example.com/talk.MOV?sig=1' },
          ],
        },
      ],
    })
    expect(ask?.attachments.map(({ kind }) => kind)).toEqual([
      ...['video', 'audio', 'image', 'audio', 'video', 'audio', 'video'],
    ])
    expect(ask?.attachments[0]).toMatchObject({ frames: { most: 4 } })
  })

  it('are in Messages as its images are, and as documents by their media type', async () => {
    const source = { type: 'base64', media_type: 'audio/wav', data: wav }
    const ask = await read('/v1/messages', {
      max_tokens: 9,
      ...chat(
        { type: 'video', source: { type: 'url', url: 'https://example.com/a' } },
        { type: 'audio', source },
        { type: 'document', source, title: 'A call' },
        { type: 'tool_result', tool_use_id: 'a', content: [{ type: 'audio', source }] },
      ),
    })
    expect(sources(ask)).toEqual([
      ['video', 'https://example.com/a', 'messages[0].content[0].source'],
      ['audio', wav, 'messages[0].content[1].source'],
      ['audio', wav, 'messages[0].content[2].source'],
      ['audio', wav, 'messages[0].content[3].content[0].source'],
    ])
  })

  it('are among the images of Ollama and of completions, known by their bytes', async () => {
    const images = [png, wav, mp4]
    const messages = [{ role: 'user', content: 'What?', images }]
    expect(sources(await read('/api/chat', { messages, stream: false }))).toEqual([
      ['image', png, 'messages[0].images[0]'],
      ['audio', wav, 'messages[0].images[1]'],
      ['video', mp4, 'messages[0].images[2]'],
    ])
    backend.asks.splice(0)
    const ask = await read('/v1/completions', { prompt: '<image><image><image>What?', images })
    expect(ask?.attachments.map(({ kind }) => kind)).toEqual(['image', 'audio', 'video'])
  })

  it.each([
    ['max_frames', 0, /must be at least 1; found 0/],
    ['max_frames', 1.5, /must be a whole number; found 1.5/],
    ['sample_fps', 0, /must be at least 0.0001; found 0/],
    ['fps', 1e-310, /must be at least 0.0001; found 1e-310/],
    ['spatial_limit', -1, /must be at least 1; found -1/],
    ['detail', 'fine', /must be "low", "high" or "auto"; found "fine"/],
    ['choose', 'best', /must be "even" or "scenes"; found "best"/],
    ['clip.start', -1, /must be seconds from the start of the file, 0 or more.*found -1/],
    ['clip.end', '1:05', /must be seconds from the start of the file/],
    ['clip.end', 2, /must be after the start of the clip; found 2/],
    ['url', 7, /must be a string: a data:, http: or https: URL; found 7/],
  ])('refuse a %s of %s', async (field, value, message) => {
    const [outer = '', inner] = field.split('.')
    const options = inner === undefined ? { [outer]: value } : { [outer]: { start: 2, [inner]: value } }
    const { status, body } = await post(
      '/v1/chat/completions',
      chat({ type: 'video_url', video_url: { url: mp4, ...options } }),
    )
    expect([status, body.error?.param]).toEqual([400, `messages[0].content[0].video_url.${field}`])
    expect(body.error?.message).toMatch(message)
  })

  it('are counted by their kind, and told of if the request asks for it', async () => {
    const body = { messages: [{ role: 'user', content: 'Hi' }], usage: { include: true } }
    const { body: answer } = await post('/v1/chat/completions', body)
    const report = {
      videos: [
        {
          ...{ param: 'a', seconds: 12.346, width: 640, height: 360, seen: { width: 320, height: 180 } },
          ...{ tokens: 60, found: 3, taken: 2, fetch_ms: 1.3, decode_ms: 20 },
          frames: [
            { time: 0, tokens: 30, cached: null, encode_ms: 7.8 },
            { time: 6.173, tokens: 30, cached: 'encoder', encode_ms: 0 },
          ],
        },
      ],
      audio: [{ param: 'b', seconds: 4, tokens: 30, chunks: 1, cached: null, fetch_ms: 0, decode_ms: 2, encode_ms: 3 }],
    }
    expect(answer).toMatchObject({
      usage: {
        prompt_tokens: 200,
        prompt_tokens_details: { image_tokens: 20, images: [20], video_tokens: 100, audio_tokens: 30 },
        ...report,
      },
    })
    const { body: message } = await post('/v1/messages', { ...body, max_tokens: 9 })
    expect(message).toMatchObject({ usage: report })
    const { body: response } = await post('/v1/responses', { input: 'Hi', usage: { include: true } })
    expect(response).toMatchObject({ usage: report })
    const { body: line } = await post('/api/chat', { ...body, stream: false })
    expect(line).toMatchObject(report)
  })

  it('are apart in the ledger, in metrics and in the activity', async () => {
    await post('/v1/chat/completions', { messages: [{ role: 'user', content: 'Hi' }] })
    await vi.waitFor(async () => {
      const { body } = await get('/v1/usage?group_by=model&model=keen')
      const [{ requests, ...sums }] = body.data as [{ requests: number }]
      expect(sums).toMatchObject({
        ...{ text_tokens: 50 * requests, image_tokens: 20 * requests },
        ...{ video_tokens: 100 * requests, audio_tokens: 30 * requests },
      })
    })
    const metrics = await (await fetch(`${server.url}/metrics`)).text()
    expect(metrics).toMatch(/oriel_video_prompt_tokens_total\{model="keen"\} \d+00\n/)
    expect(metrics).toMatch(/oriel_recordings_total\{model="keen",kind="video"\} \d+/)
    const { body: activity } = await get('/admin/activity')
    expect((activity.finished as object[])[0]).toMatchObject({
      tokens: { text: 50, image: 20, video: 100, audio: 30 },
    })
  })

  it('are refused by a model that takes neither, with its name', async () => {
    const other = await serveBackend(plainBackend())
    const parts = [
      [{ type: 'video_url', video_url: { url: mp4 } }, 'video', 'video_url'],
      [{ type: 'input_audio', input_audio: { data: wav, format: 'wav' } }, 'audio', 'input_audio'],
    ] as const
    for (const [part, kind, field] of parts) {
      const response = await postJson(`${other.url}/v1/chat/completions`, { model: 'plain', ...chat(part) })
      const { error } = (await response.json()) as { error: { message: string; param: string; code: string } }
      expect([response.status, error.param, error.code]).toEqual([
        400,
        `messages[0].content[0].${field}`,
        `${kind}_not_supported`,
      ])
      expect(error.message).toContain(`The model plain does not accept ${kind}.`)
    }
    await other.close()
  })
})
