import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
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
    answer: (ask: Ask, signal: AbortSignal) => {
      asks.push(ask)
      return plain.answer(ask, signal)
    },
  }
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
    ['sample_fps', 0, /must be more than 0; found 0/],
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
