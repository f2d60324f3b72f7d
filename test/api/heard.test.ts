import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { qwen25oHearing, voxtral } from '../encoders/oracle/families/whisper.ts'
import type { Family } from '../encoders/oracle/families.ts'
import { postJson } from '../support/http.ts'
import { startServer, type TestServer } from '../support/server.ts'

/** Of Debian's packages. */
const ffmpeg = 'ffmpeg'
/** Sounds of as many seconds, and a video of four with sound, with these options of the encoder. */
const made = (...options: readonly string[]): Buffer => execFileSync(ffmpeg, ['-loglevel', 'error', ...options, '-'])
const sine = (seconds: number) => ['-f', 'lavfi', '-i', `sine=frequency=440:duration=${seconds}`]
const opus = ['-c:a', 'libopus', '-b:a', '24k', '-f', 'ogg']
const note = made(...sine(3), ...opus)
const silence = made('-f', 'lavfi', '-i', 'anullsrc=r=8000:cl=mono', '-t', '3500', ...opus)
/** Tones of nine seconds, with half a second of silence before each. */
const spoken = made('-f', 'lavfi', '-i', 'aevalsrc=0.4*sin(2*PI*300*t)*gte(mod(t\\,9.5)\\,0.5):s=16000:d=62', ...opus)
const clip = made(
  ...['-f', 'lavfi', '-i', 'testsrc=size=160x120:rate=10:duration=4', ...sine(4)],
  ...['-c:v', 'libvpx', '-b:v', '200k', '-c:a', 'libopus', '-shortest', '-f', 'webm'],
)

/** Small models with random weights: what they say means nothing, how they are asked does. */
describe('models that see and hear', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'oriel-heard-'))
  let oriel: TestServer
  let client: OpenAI
  beforeAll(async () => {
    const write = ({ write }: Family, name: string): void => {
      mkdirSync(path.join(folder, name))
      write(path.join(folder, name, `${name}.gguf`), path.join(folder, name, `mmproj-${name}.gguf`))
    }
    write(qwen25oHearing, 'omni')
    write(voxtral, 'listener')
    oriel = await startServer({ model: ['pocket'], models: { dirs: [folder] } })
    client = new OpenAI({ baseURL: `${oriel.url}/v1`, apiKey: 'none', maxRetries: 0 })
  })
  afterAll(async () => {
    await oriel?.close()
    rmSync(folder, { recursive: true })
  })

  interface Answer {
    usage: {
      prompt_tokens_details: Record<'image_tokens' | 'video_tokens' | 'audio_tokens', number>
      videos?: { param: string; seconds: number; frames: { time: number }[] }[]
      audio?: { param: string; seconds: number; tokens: number; cached: string | null }[]
    }
    error?: { message: string; code: string; param: string }
  }
  const ask = async (model: string, ...content: object[]): Promise<Answer> => {
    const messages = [{ role: 'user', content: [...content, { type: 'text', text: 'What?' }] }]
    const body = { model, messages, max_tokens: 4, usage: { include: true } }
    return (await postJson(`${oriel.url}/v1/chat/completions`, body)).json() as Promise<Answer>
  }
  const video = { type: 'video_url', video_url: { url: `data:video/webm;base64,${clip.toString('base64')}` } }
  const audio = { type: 'input_audio', input_audio: { data: note.toString('base64'), format: 'ogg' } }

  it('say what they take', async () => {
    const { data } = (await (await fetch(`${oriel.url}/v1/models`)).json()) as {
      data: { id: string; input_modalities: string[] }[]
    }
    expect(Object.fromEntries(data.map(({ id, input_modalities }) => [id, input_modalities.toSorted()]))).toMatchObject(
      {
        omni: ['audio', 'image', 'text', 'video'],
        listener: ['audio', 'text'],
        pocket: ['image', 'text'],
      },
    )
  })

  it('see the frames of a video and hear its sound, beside other audio', async () => {
    const { usage } = await ask('omni', video, audio)
    const { prompt_tokens_details: tokens, videos = [], audio: heard = [] } = usage
    expect(videos).toMatchObject([{ param: 'messages[0].content[0].video_url', seconds: expect.closeTo(4, 0) }])
    expect(videos[0]?.frames.length).toBeGreaterThan(0)
    expect(heard.map(({ param }) => param)).toEqual([
      'messages[0].content[0].video_url',
      'messages[0].content[1].input_audio',
    ])
    expect(heard[1]?.seconds).toBeCloseTo(3, 0)
    expect(tokens.video_tokens).toBeGreaterThan(0)
    expect(tokens.audio_tokens).toBe(heard.reduce((sum, one) => sum + one.tokens, 0))
    expect((await ask('omni', video, audio)).usage.audio?.map(({ cached }) => cached)).toEqual(['prefix', 'prefix'])
  })

  it('refuse what others take, and name those', async () => {
    expect((await ask('listener', video)).error).toMatchObject({
      code: 'video_not_supported',
      message: expect.stringMatching(/The model listener does not accept video\..*omni/),
    })
    expect((await ask('pocket', audio)).error).toMatchObject({
      code: 'audio_not_supported',
      param: 'messages[0].content[0].input_audio',
      message: expect.stringMatching(/The model pocket does not accept audio\..*(listener|omni)/),
    })
  })

  it('write no more than can be said in the time', async () => {
    const file = await toFile(note, 'note.ogg')
    const written = await client.audio.transcriptions.create({ model: 'listener', file })
    const { usage: translated } = (await client.audio.translations.create({ model: 'listener', file })) as {
      usage?: { output_tokens: number }
    }
    for (const usage of [written.usage, translated])
      expect(usage).toMatchObject({ output_tokens: expect.toSatisfy((tokens: number) => tokens <= 4 * 16 + 64) })
  })

  it('write down what they hear, in pieces of up to 30 seconds that end in pauses', async () => {
    const body = { model: 'listener', language: 'en' }
    const srt = await client.audio.transcriptions.create({
      ...{ ...body, file: await toFile(note, 'note.ogg'), response_format: 'srt' },
    })
    expect(srt).toMatch(/^(1\n00:00:00,000 --> 00:00:03,\d{3}\n[\s\S]*)?$/)
    const verbose = await client.audio.transcriptions.create({
      ...{ ...body, file: await toFile(spoken, 'long.ogg'), response_format: 'verbose_json', temperature: 1 },
    })
    expect(verbose.duration).toBeCloseTo(62, 0)
    // A random model may say nothing about a piece, which then has no segment.
    const { segments = [] } = verbose
    expect(segments.length).toBeGreaterThan(1)
    for (const { start, end, seek } of segments) {
      expect(seek).toBe(Math.round(start * 100))
      expect(end - start).toBeLessThanOrEqual(30)
      for (const cut of [start, end]) if (cut > 0 && cut < verbose.duration) expect(cut % 9.5).toBeLessThan(0.5)
    }
  })

  it('count a sound that is too long for them, and answer when its old turn is dropped, without decoding it', async () => {
    const long = { ...audio, input_audio: { data: silence.toString('base64'), format: 'ogg' } }
    const counted = await postJson(`${oriel.url}/tokenize`, {
      model: 'listener',
      messages: [{ role: 'user', content: [long, audio] }],
    })
    const { count, max_model_len, parts } = (await counted.json()) as {
      count: number
      max_model_len: number
      parts: { type: string; tokens: number; seconds: number }[]
    }
    expect(count).toBeGreaterThan(max_model_len)
    expect(parts).toMatchObject([
      { type: 'audio', seconds: expect.closeTo(3500, 0) },
      { type: 'audio', seconds: expect.closeTo(3, 0) },
    ])
    const turn = (content: unknown) => [
      { role: 'user', content },
      { role: 'assistant', content: 'Yes.' },
    ]
    const answer = await postJson(`${oriel.url}/v1/chat/completions`, {
      ...{ model: 'listener', max_tokens: 4, usage: { include: true }, prompt_truncate_len: max_model_len - 10 },
      messages: [...turn([long]), ...turn('And?'), { role: 'user', content: [audio, { type: 'text', text: 'What?' }] }],
    })
    const { usage } = (await answer.json()) as Answer
    expect(usage.audio).toMatchObject([{ seconds: expect.closeTo(3, 0) }])
  })

  it('refuse speech that is too long for them', async () => {
    const error = await client.audio.transcriptions
      .create({ model: 'listener', file: await toFile(silence, 'hour.ogg') })
      .catch((error: unknown) => error)
    expect(error).toMatchObject({
      ...{ status: 400, code: 'context_length_exceeded', param: 'file' },
      message: expect.stringMatching(
        /This model's context holds \d+ tokens\. The prompt has \d+ \(\d+ of text and \d+ of 1 sound\)\./,
      ),
    })
  })
})
