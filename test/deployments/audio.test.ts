import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Ask, Collected } from '../../src/deployments/index.ts'
import { qwen25oHearing, ultravox } from '../encoders/oracle/families/whisper.ts'
import { audioOf, manyColours, soundOf, videoOf } from '../support/videos.ts'
import { part, source, startModel, text } from '../support/watching.ts'

const audio = (attachment?: number) => part('audio', attachment)
const sent = (url: string) => source('audio', url)

describe('a model that hears only', () => {
  let model: Awaited<ReturnType<typeof startModel>>
  beforeAll(async () => {
    model = await startModel(ultravox)
  })
  afterAll(() => model.close())

  it('says so', () => {
    expect(model.backend.info.inputs).toEqual(['audio'])
    expect(model.engine.model.inputs).toEqual({
      image: null,
      audio: { family: 'ultravox', longest: expect.any(Number) },
    })
  })

  it('reads a sound as chunks of 30 seconds, each encoded by itself', async () => {
    const sound = soundOf('long', 65)
    model.files.long = () => audioOf(sound)
    const { usage, prompt, audio: told, tally } = await model.answer([audio(), text('What is said?')], [sent('long')])
    expect(prompt).toContain('<audio>What is said?')
    const [tokens = 0] = usage.audioTokens ?? []
    expect(tokens).toBeGreaterThan(300)
    expect(usage).toMatchObject({ imageTokens: [], videoTokens: [], audioTokens: [tokens] })
    expect(told).toEqual([
      {
        param: 'long',
        seconds: 65,
        tokens,
        chunks: 3,
        cached: null,
        encodeMs: expect.any(Number),
        fetchMs: 0,
        decodeMs: 3,
      },
    ])
    expect(tally.timings.encode).toBeGreaterThan(0)
    expect([sound.decodes, sound.gone]).toEqual([1, 1])
  })

  it('encodes nothing and prefills nothing for another question about a sound, nor decodes it', async () => {
    const [first, again] = [soundOf('twice', 20), soundOf('twice', 20)]
    const sounds = [first, again]
    model.files.twice = () => audioOf(sounds.shift() ?? again)
    await model.answer([audio(), text('What is said?')], [sent('twice')])
    const { usage, audio: told } = await model.answer([audio(), text('Who speaks?')], [sent('twice')])
    expect(usage.promptTokens - usage.cachedTokens).toBeLessThan(60)
    expect(told).toMatchObject([{ cached: 'prefix', encodeMs: 0 }])
    expect([first.decodes, again.decodes, again.gone]).toEqual([1, 0, 1])
  })

  it('encodes a sound once that stands twice in a prompt, or that several requests have', async () => {
    model.files.same = () => audioOf(soundOf('same', 2, 700))
    const both = [sent('same'), sent('same')]
    const [one, other] = await Promise.all([
      model.answer([audio(0), text('and'), audio(1)], both),
      model.answer([text('Compare'), audio(0), audio(1)], both),
    ])
    const all = [...one.audio, ...other.audio]
    expect(all).toHaveLength(4)
    expect(new Set([one, other].flatMap(({ usage }) => usage.audioTokens ?? [])).size).toBe(1)
    expect(all.filter(({ cached }) => cached === 'encoder').length).toBeGreaterThanOrEqual(2)
  })

  it('counts sounds by themselves', async () => {
    model.files.counted = () => audioOf(soundOf('counted', 4))
    const asked = model.askOf([text('Hello'), audio()], [sent('counted')])
    const count = await model.backend.count(asked, new AbortController().signal)
    const [tokens] = count.audioTokens ?? []
    expect(await count.parts()).toEqual([
      { kind: 'text', tokens: 5 },
      { kind: 'audio', attachment: 0, tokens, seconds: 4 },
    ])
  })

  it('cuts a sound that is loaded once into pieces, each of which is one chunk', async () => {
    const sound = soundOf('meeting', 70)
    let loads = 0
    model.files.meeting = () => {
      loads++
      return audioOf(sound)
    }
    const { signal } = new AbortController()
    const asked = model.askOf([audio()], [sent('meeting')])
    const pieces = (await model.backend.cut?.(asked, { longest: 30, most: 9 }, signal)) ?? []
    const edges = pieces.map(({ clip }) => clip?.end ?? 0)
    expect([pieces.map(({ clip }) => clip?.start), edges.at(-1)]).toEqual([[0, ...edges.slice(0, -1)], 70])
    const answers = await Promise.all(pieces.map((piece) => model.answer([audio(), text('What is said?')], [piece])))
    expect(answers.map(({ audio: [told] }) => told)).toMatchObject(
      pieces.map(({ clip: { start = 0, end = 0 } = {} }) => ({
        ...{ param: 'meeting', seconds: expect.closeTo(end - start, 6), chunks: 1, cached: null, decodeMs: 3 },
      })),
    )
    expect([loads, sound.gone]).toEqual([1, 1])
  })

  it('refuses a sound that is longer than its context before any of it is decoded', async () => {
    const sound = soundOf('endless', 3600)
    model.files.endless = () => audioOf(sound)
    await expect(model.answer([audio(), text('?')], [sent('endless')])).rejects.toMatchObject({
      code: 'context_length_exceeded',
      message: expect.stringMatching(/of 1 sound\)/),
    })
    expect(sound.decodes).toBe(0)
  })

  it('fails the request whose sound cannot be decoded, and no other', async () => {
    const bad = { ...soundOf('bad', 3), decode: () => Promise.reject(new Error('broken')) }
    model.files.bad = () => audioOf(bad)
    model.files.good = () => audioOf(soundOf('good', 3))
    const [broken, well] = await Promise.allSettled([
      model.answer([audio(), text('?')], [sent('bad')]),
      model.answer([audio(), text('?')], [sent('good')]),
    ])
    expect([broken.status, well.status]).toEqual(['rejected', 'fulfilled'])
  })
})

describe('a model that sees and hears', () => {
  let model: Awaited<ReturnType<typeof startModel>>
  beforeAll(async () => {
    model = await startModel(qwen25oHearing)
  })
  afterAll(() => model.close())

  it('takes images, audio and video', () => {
    expect(model.backend.info.inputs).toEqual(['image', 'audio', 'video'])
    expect(model.engine.model.inputs).toMatchObject({ image: { family: 'qwen2.5o' }, audio: { family: 'qwen2.5o' } })
  })

  it('hears the sound of a video behind its frames', async () => {
    const sound = soundOf('of a video', 3)
    model.files.clip = () => ({ ...videoOf(manyColours(3, 20)), sound })
    const { usage, videos, audio: told } = await model.answer([part('video'), text('?')], [source('video', 'clip')])
    const { videoTokens: [seen = 0] = [], audioTokens: [heard = 0] = [] } = usage
    // A pair of frames, and one that is alone.
    expect(seen).toBe(2 * 9)
    expect(heard).toBeGreaterThan(50)
    expect(videos).toMatchObject([{ param: 'clip', tokens: seen, frames: [{ time: 0 }, { time: 2 }] }])
    expect(told).toMatchObject([{ param: 'clip', seconds: 3, tokens: heard, cached: null }])
    expect(sound.gone).toBe(1)
  })

  it('calls each attachment by its kind where the tokens of the prompt are repeated', async () => {
    model.files.clip = () => ({ ...videoOf(manyColours(3, 20)), sound: soundOf('of a clip', 3) })
    model.files.tone = () => audioOf(soundOf('a tone', 1.5))
    const content = [text('a'), part('audio', 0), text('b'), part('image', 1), text('c'), part('video', 2), text('d')]
    const sources = [sent('tone'), source('image', 'picture'), source('video', 'clip')]
    const echoed = async (settings: Partial<Ask['settings']>) => {
      const asked = model.askOf(content, sources)
      const ask = { ...asked, settings: { ...asked.settings, ...settings } }
      const { events } = await model.backend.answer(ask, new AbortController().signal)
      const collected = new Collected(1)
      for await (const event of events) collected.take(event)
      return collected.choices[0]
    }
    const marks = (words = '') => words.match(/<(image|video|audio)>/g)
    // A pair of frames, one that is alone, and the sound behind them.
    const all = ['<audio>', '<image>', '<video>', '<video>', '<audio>']
    expect(marks((await echoed({ echo: 8000 }))?.text)).toEqual(all)
    const shown = await echoed({ promptLogprobs: true, topLogprobs: 0 })
    expect(marks(shown?.text)).toEqual(all)
    expect(shown?.tokens.filter(({ id }) => id === -1).map(({ bytes }) => Buffer.from(bytes).toString())).toEqual(all)
  })

  it('answers about images and sounds in any order as about each alone', async () => {
    model.files.tone = () => audioOf(soundOf('tone', 1.5))
    const sources = [source('image', 'picture'), sent('tone')]
    const ask = () => model.answer([text('a'), audio(1), text('b'), part('image'), text('c')], sources)
    const [first, second] = [await ask(), await ask()]
    expect(first.prompt).toContain('a<audio>b<image>c')
    expect(first.audio).toMatchObject([{ cached: null }])
    expect([second.audio[0]?.cached, second.images[0]?.cached]).toEqual(['prefix', 'prefix'])
    expect(second.usage.audioTokens).toEqual(first.usage.audioTokens)
  })
})
