import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { Collected, type ContentPart, plainSettings } from '../../src/deployments/index.ts'
import type { Frame } from '../../src/media/index.ts'
import { idefics3 } from '../encoders/oracle/families/idefics3.ts'
import { qwen3vl, qwen25vl } from '../encoders/oracle/families/qwen.ts'
import { shortRun } from '../support/long.ts'
import { frameAt, manyColours, videoOf } from '../support/videos.ts'
import { part, source, startModel, text } from '../support/watching.ts'

let model: Awaited<ReturnType<typeof startModel>>
beforeAll(async () => {
  model = await startModel(idefics3)
})
afterAll(() => model.close())

const video = (attachment?: number) => part('video', attachment)
const sent = (url: string, more?: Parameters<typeof source>[2]) => source('video', url, more)

describe('a video', () => {
  it('is its frames in the prompt, and each is told with its time and tokens', async () => {
    model.files.short = () => videoOf(manyColours(3))
    const { usage, prompt, tally, videos: told } = await model.answer([video(), text('What happens?')], [sent('short')])
    expect(prompt).toContain('<video>What happens?')
    // Four tokens of each frame, and three marks around it.
    expect(usage).toMatchObject({ imageTokens: [], videoTokens: [21] })
    expect(tally.images).toEqual([])
    const frame = { tokens: 7, cached: null, encodeMs: expect.any(Number) }
    expect(told).toEqual([
      {
        ...{
          param: 'short',
          seconds: 3,
          width: 64,
          height: 64,
          seen: { width: 64, height: 64 },
          tokens: 21,
          found: 3,
          taken: 3,
        },
        frames: [0, 1, 2].map((time) => ({ time, ...frame })),
        ...{ fetchMs: 0, decodeMs: 5 },
      },
    ])
  })

  it('costs no encoding and no prefill when another question is asked about it', async () => {
    model.files.twice = () => videoOf(manyColours(6, 100))
    const first = await model.answer([video(), text('What happens?')], [sent('twice')])
    expect(first.usage.cachedTokens).toBeLessThan(first.usage.promptTokens / 2)
    const second = await model.answer([video(), text('Who is it?')], [sent('twice')])
    expect(second.usage.promptTokens - second.usage.cachedTokens).toBeLessThan(60)
    expect(second.videos[0]?.frames.map(({ cached }) => cached)).toEqual(Array(6).fill('prefix'))
    expect(second.tally.timings.encode).toBe(0)
  })

  it('is encoded once for frames that are equal', async () => {
    const still = [9, 200, 77] as const
    model.files.still = () => videoOf([still, still, still, [10, 20, 30], still])
    const { videos: told } = await model.answer([video(), text('What happens?')], [sent('still')])
    const { frames = [] } = told[0] ?? {}
    expect(frames.map(({ cached }) => cached)).toEqual([null, 'encoder', 'encoder', null, 'encoder'])
    expect(frames.filter(({ encodeMs }) => encodeMs > 0)).toHaveLength(2)
  })

  it.skipIf(shortRun)(
    'has as many frames as the context has room for, evenly, unless the request says how many',
    async () => {
      model.files.long = () => videoOf(manyColours(600, 1000))
      const { usage, videos: told } = await model.answer([video(), text('What happens?')], [sent('long')])
      const { found, frames = [] } = told[0] ?? {}
      expect(found).toBe(600)
      // The answer is short, so that nearly all of the context is for the prompt.
      expect(usage.promptTokens).toBeGreaterThan(7900)
      expect(usage.promptTokens).toBeLessThanOrEqual(8192 - 4)
      const gaps = frames.slice(1).map(({ time }, index) => time - (frames[index]?.time ?? 0))
      expect(Math.max(...gaps) - Math.min(...gaps)).toBeLessThanOrEqual(1)
      const chosen = sent('long', { frames: { most: 600 } })
      await expect(model.answer([video(), text('What happens?')], [chosen])).rejects.toMatchObject({
        code: 'context_length_exceeded',
      })
    },
  )

  it('leaves an answer of unknown length a quarter of the context', async () => {
    model.files.open = () => videoOf(manyColours(600, 2000))
    const count = await model.backend.count(
      { ...model.askOf([video(), text('And?')], [sent('open')]), settings: plainSettings },
      new AbortController().signal,
    )
    expect(count.promptTokens).toBeLessThanOrEqual(6144)
    expect(count.promptTokens).toBeGreaterThan(6000)
    // Told of the frames that were counted, with seven tokens each.
    const [tokens = 0] = count.videoTokens ?? []
    expect(await count.parts()).toContainEqual({ kind: 'video', attachment: 0, tokens, frames: tokens / 7 })
  })

  it('stands between texts, pictures and other videos in their order', async () => {
    model.files.one = () => videoOf(manyColours(2, 50))
    model.files.two = () => videoOf(manyColours(1, 60), 100)
    const image = source('image', 'picture', { detail: 'low' })
    const { prompt, usage, tally } = await model.answer(
      [text('First '), video(1), text(' then '), part('image'), text(' and '), video(2)],
      [image, sent('two'), sent('one')],
    )
    expect(prompt).toContain('First <video> then <image> and <video>')
    expect(usage).toMatchObject({ imageTokens: [7], videoTokens: [7, 14] })
    expect(tally.images?.map(({ param }) => param)).toEqual(['picture'])
    expect(tally.videos?.map(({ param, frames }) => [param, frames.length])).toEqual([
      ['two', 1],
      ['one', 2],
    ])
  })

  it('is counted by itself, with the frames that it has', async () => {
    model.files.counted = () => videoOf(manyColours(5, 70))
    const asked = model.askOf([text('Hello'), video()], [sent('counted')])
    const count = await model.backend.count(asked, new AbortController().signal)
    expect(count.videoTokens).toEqual([35])
    expect(await count.parts()).toEqual([
      { kind: 'text', tokens: 5 },
      { kind: 'video', attachment: 0, tokens: 35, frames: 5 },
    ])
  })

  it.skipIf(shortRun)(
    'gives its pixels back when its frames are encoded, and at once those that are left out',
    async () => {
      const frames = manyColours(1300, 3000).map((colour, time) => frameAt(time, colour, 8))
      model.files.freed = () => ({ ...videoOf([]), frames })
      await model.answer([video(), text('What happens?')], [sent('freed')])
      expect(frames.filter(({ rgb }) => rgb?.length !== 0)).toEqual([])
    },
  )
})

describe('a video in a long chat', () => {
  const say = (role: string, ...content: ContentPart[]) => ({ role, content })
  const old = (turns: number, characters = 300) =>
    Array.from({ length: turns }, () => [
      say('user', text('a'.repeat(characters))),
      say('assistant', text('b'.repeat(characters))),
    ]).flat()
  /** @param longest to which the chat is shortened */
  const count = async (url: string, longest: number | 'context', messages: readonly ReturnType<typeof say>[]) => {
    const { prompt, ...ask } = model.askOf([], [sent(url)])
    if (prompt.kind !== 'chat') throw new Error('another kind of prompt')
    return model.backend.count({ ...ask, prompt: { ...prompt, messages, longest } }, new AbortController().signal)
  }
  beforeAll(() => {
    model.files.few = () => videoOf(manyColours(32, 5000))
    model.files.many = () => videoOf(manyColours(2000, 6000))
  })

  it('keeps its frames while older turns are dropped', async () => {
    const { videoTokens, promptTokens } = await count('few', 'context', [
      ...old(20),
      say('user', video(), text('And?')),
    ])
    expect(videoTokens).toEqual([32 * 7])
    expect(promptTokens).toBeGreaterThan(6144)
  })

  it('has frames as long as the turns behind it leave room', async () => {
    const messages = [say('user', video(), text('What?')), ...old(2).slice(1), say('user', text('And?'))]
    const { videoTokens, promptTokens } = await count('many', 'context', messages)
    expect(videoTokens?.[0]).toBeGreaterThan(1000)
    expect(promptTokens).toBeLessThanOrEqual(8192 - 4)
    const far = [...messages.slice(0, 1), ...old(20).slice(1), say('user', text('And?'))]
    expect((await count('many', 'context', far)).videoTokens).toEqual([])
  })

  it('has as many frames as the length leaves room that the request allows', async () => {
    const { promptTokens } = await count('many', 2000, [...old(5), say('user', video(), text('And?'))])
    expect(promptTokens).toBeLessThanOrEqual(2000)
    expect(promptTokens).toBeGreaterThan(1950)
  })

  it('has its text counted a few times only, however many frames are tried', async () => {
    const lengths = vi.spyOn(model.engine, 'lengths')
    await count('many', 'context', [say('user', video(), text('c'.repeat(3000)))])
    const texts = lengths.mock.calls.filter(([[pieces = []]]) =>
      pieces.some((piece) => piece.kind === 'text' && piece.text.includes('ccc')),
    )
    expect(texts.length).toBeLessThanOrEqual(4)
    lengths.mockRestore()
  })

  it('is shortened however much text its old turns have', async () => {
    const { promptTokens, videoTokens } = await count('few', 'context', [
      ...old(4, 500_000),
      say('user', video(), text('And?')),
    ])
    expect(videoTokens).toEqual([32 * 7])
    expect(promptTokens).toBeLessThan(1000)
    const alone = count('few', 'context', [say('user', video(), text('a'.repeat(4_000_000)))])
    await expect(alone).rejects.toMatchObject({ code: 'context_length_exceeded' })
  })
})

describe('a video for an encoder that joins two frames', () => {
  let pairs: Awaited<ReturnType<typeof startModel>>
  beforeAll(async () => {
    pairs = await startModel(qwen3vl)
  })
  afterAll(() => pairs.close())

  const about = async (frames: readonly Frame[], name: string) => {
    pairs.files[name] = () => ({ ...videoOf([]), frames, seconds: frames.length })
    const { usage, videos } = await pairs.answer([video(), text('?')], [sent(name)], 1)
    return { usage, told: videos[0] }
  }
  const colours = [
    [200, 30, 30],
    [30, 200, 30],
    [30, 30, 200],
  ] as const
  const frame = (time: number, colour: number) => frameAt(time, colours[colour] ?? [0, 0, 0], 112)

  it('has a view for each pair, and one for the last frame if it is alone', async () => {
    const { told } = await about([frame(0, 0), frame(1, 1), frame(2, 2)], 'odd')
    expect(told).toMatchObject({ found: 3, taken: 3, frames: [{ time: 0 }, { time: 2 }] })
    // Four by four squares, or fewer, and two marks around them.
    expect(new Set(told?.frames.map(({ tokens }) => tokens)).size).toBe(1)
  })

  it('does not take pairs in another order for the same, and encodes equal pairs once', async () => {
    const [forth, back] = [
      [0, 1],
      [1, 0],
    ]
    const views = [forth, back, forth].flat()
    const { told } = await about(
      views.map((colour, at) => frame(10 + at, colour)),
      'order',
    )
    // The first pair is that of the test before.
    expect(told?.frames.map(({ cached }) => cached)).toEqual(['encoder', null, 'encoder'])
  })

  it('encodes a pair of equal frames as the still image', async () => {
    const { told } = await about([frame(0, 2), frame(1, 2), frame(2, 2)], 'still')
    expect(told?.frames.map(({ cached }) => cached)).toEqual(['encoder', 'encoder'])
  })

  it('joins no frames of different sizes', async () => {
    const { told } = await about([frame(0, 0), frameAt(1, [1, 2, 3], 56), frame(2, 0)], 'sizes')
    expect(told?.frames.map(({ time }) => time)).toEqual([0, 1, 2])
  })
})

describe('a video for a decoder that has the time of frames in their positions', () => {
  let timed: Awaited<ReturnType<typeof startModel>>
  beforeAll(async () => {
    timed = await startModel(qwen25vl)
  })
  afterAll(() => timed.close())

  const colours = manyColours(8, 9000)
  /** Frames of the same pictures, so many a second. */
  const frames = (count: number, perSecond = 2) =>
    colours.slice(0, count).map((colour, at) => frameAt(at / perSecond, colour, 84))
  const ask = async (of: readonly [number, number?], question: string, isolation: readonly string[] = []) => {
    timed.files.timed = () => ({ ...videoOf([]), frames: frames(...of) })
    const asked = timed.askOf([video(), text(question)], [sent('timed')])
    const settings = { ...asked.settings, echo: null, topLogprobs: 0, isolation }
    const { usage, events } = await timed.backend.answer({ ...asked, settings }, new AbortController().signal)
    const collected = new Collected(1)
    for await (const event of events) collected.take(event)
    const tokens = collected.choices[0]?.tokens.map(({ id, logprob }) => [id, Number(logprob?.toFixed(3))])
    return { usage, tokens }
  }

  it('stands between two marks, which count as text', async () => {
    timed.files.marked = () => ({ ...videoOf([]), frames: frames(3), seconds: 2 })
    const { usage, prompt } = await timed.answer([video(), text('?')], [sent('marked')])
    expect(prompt).toContain('user\n<video>?')
    expect(usage.videoTokens).toEqual([2 * 9])
  })

  it('is answered about as without a cache, after one that goes on otherwise', async () => {
    const asks = [
      [[8], 'What happens?'],
      // Its second view has an earlier time than the text behind the first one, and the other way round.
      [[2], 'What is it?'],
      [[6], 'What is it?'],
      [[8, 0.5], 'What happens?'],
    ] as const
    const shared = []
    for (const [of, question] of asks) {
      const cached = await ask(of, question)
      const alone = await ask(of, question, [`alone ${shared.length}`])
      expect(cached.tokens).toEqual(alone.tokens)
      expect(alone.usage.cachedTokens).toBe(0)
      shared.push(cached.usage.cachedTokens)
    }
    const [first = 0, one = 0, three = 0, slow = 0] = shared
    expect([three - one, one - first]).toEqual([2 * 9, one - first])
    expect(one).toBeGreaterThan(9)
    // The first view is at the same time.
    expect(slow).toBe(one)
  })
})
