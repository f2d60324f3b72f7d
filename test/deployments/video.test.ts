import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Ask,
  type Attachment,
  type Backend,
  Collected,
  type ContentPart,
  embeddedBackend,
  plainSettings,
} from '../../src/deployments/index.ts'
import { imageFamilies } from '../../src/encoders/index.ts'
import { startEngine } from '../../src/engine/index.ts'
import { createLogger } from '../../src/log.ts'
import type { LoadedVideo } from '../../src/media/index.ts'
import { readCard } from '../../src/models/card.ts'
import { idefics3 } from '../encoders/oracle/families/idefics3.ts'
import { engineSettings } from '../support/pocket.ts'
import { frameAt, manyColours, mediaWith, videoOf } from '../support/videos.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'oriel-video-'))
/** By URL, made for each request. */
const videos: Record<string, () => LoadedVideo> = {}
let backend: Backend
beforeAll(async () => {
  const [decoder, projector] = [path.join(folder, 'decoder.gguf'), path.join(folder, 'mmproj.gguf')]
  idefics3.write(decoder, projector)
  const card = await readCard({ id: 'smol', aliases: [], decoder, projector }, imageFamilies)
  const settings = { ...engineSettings, contextCells: 8192 }
  const engine = await startEngine({ decoder, projector, name: 'smol', settings, log: createLogger('silent') })
  backend = embeddedBackend({ card, engine, media: mediaWith(videos) })
})
afterAll(async () => {
  await backend.close()
  rmSync(folder, { recursive: true })
})

const text = (words: string): ContentPart => ({ kind: 'text', text: words })
const video = (attachment = 0): ContentPart => ({ kind: 'video', attachment })
const source = (url: string, more: Partial<Attachment> = {}): Attachment => ({
  ...{ kind: 'video', url, param: url, detail: 'auto' },
  ...more,
})

const askOf = (content: readonly ContentPart[], attachments: readonly Attachment[], maxTokens = 4): Ask => ({
  prompt: {
    ...{ kind: 'chat', messages: [{ role: 'user', content }], tools: [], variables: {}, splitReasoning: false },
    ...{ calling: { mode: 'auto', parallel: true }, continues: false, longest: null },
  },
  attachments,
  settings: { ...plainSettings, maxTokens, ignoreEos: true, sampling: { temperature: 0 }, echo: 'all' },
  client: 'one',
})

async function answer(content: readonly ContentPart[], attachments: readonly Attachment[], maxTokens?: number) {
  const asked = await backend.answer(askOf(content, attachments, maxTokens), new AbortController().signal)
  const collected = new Collected(1)
  for await (const event of asked.events) collected.take(event)
  const { tally } = collected
  if (tally === undefined) throw new Error('an answer without an end')
  return { usage: asked.usage, prompt: asked.prompt?.text ?? '', tally, videos: tally.videos ?? [] }
}

describe('a video', () => {
  it('is its frames in the prompt, and each is told with its time and tokens', async () => {
    videos.short = () => videoOf(manyColours(3))
    const { usage, prompt, tally, videos: told } = await answer([video(), text('What happens?')], [source('short')])
    expect(prompt).toContain('<video>What happens?')
    // Four tokens of each frame, and three marks around it.
    expect(usage).toMatchObject({ imageTokens: [], videoTokens: [21] })
    expect(tally.images).toEqual([])
    const frame = { tokens: 7, cached: null, encodeMs: expect.any(Number) }
    expect(told).toEqual([
      {
        ...{ param: 'short', seconds: 3, width: 64, height: 64, seen: { width: 64, height: 64 }, tokens: 21, found: 3 },
        frames: [0, 1, 2].map((time) => ({ time, ...frame })),
        ...{ fetchMs: 0, decodeMs: 5 },
      },
    ])
  })

  it('costs no encoding and no prefill when another question is asked about it', async () => {
    videos.twice = () => videoOf(manyColours(6, 100))
    const first = await answer([video(), text('What happens?')], [source('twice')])
    expect(first.usage.cachedTokens).toBeLessThan(first.usage.promptTokens / 2)
    const second = await answer([video(), text('Who is it?')], [source('twice')])
    expect(second.usage.promptTokens - second.usage.cachedTokens).toBeLessThan(60)
    expect(second.videos[0]?.frames.map(({ cached }) => cached)).toEqual(Array(6).fill('prefix'))
    expect(second.tally.timings.encode).toBe(0)
  })

  it('is encoded once for frames that are equal', async () => {
    const still = [9, 200, 77] as const
    videos.still = () => videoOf([still, still, still, [10, 20, 30], still])
    const { videos: told } = await answer([video(), text('What happens?')], [source('still')])
    const { frames = [] } = told[0] ?? {}
    expect(frames.map(({ cached }) => cached)).toEqual([null, 'encoder', 'encoder', null, 'encoder'])
    expect(frames.filter(({ encodeMs }) => encodeMs > 0)).toHaveLength(2)
  })

  it('has as many frames as the context has room for, evenly, unless the request says how many', async () => {
    videos.long = () => videoOf(manyColours(600, 1000))
    const { usage, videos: told } = await answer([video(), text('What happens?')], [source('long')])
    const { found, frames = [] } = told[0] ?? {}
    expect(found).toBe(600)
    // The answer is short, so that nearly all of the context is for the prompt.
    expect(usage.promptTokens).toBeGreaterThan(7900)
    expect(usage.promptTokens).toBeLessThanOrEqual(8192 - 4)
    const gaps = frames.slice(1).map(({ time }, index) => time - (frames[index]?.time ?? 0))
    expect(Math.max(...gaps) - Math.min(...gaps)).toBeLessThanOrEqual(1)
    const chosen = source('long', { frames: { most: 600 } })
    await expect(answer([video(), text('What happens?')], [chosen])).rejects.toMatchObject({
      code: 'context_length_exceeded',
    })
  })

  it('leaves an answer of unknown length a quarter of the context', async () => {
    videos.open = () => videoOf(manyColours(600, 2000))
    const count = await backend.count(
      { ...askOf([video(), text('And?')], [source('open')]), settings: plainSettings },
      new AbortController().signal,
    )
    expect(count.promptTokens).toBeLessThanOrEqual(6144)
    expect(count.promptTokens).toBeGreaterThan(6000)
  })

  it('stands between texts, pictures and other videos in their order', async () => {
    videos.one = () => videoOf(manyColours(2, 50))
    videos.two = () => videoOf(manyColours(1, 60), 100)
    const image: Attachment = { kind: 'image', url: 'picture', param: 'picture', detail: 'low' }
    const { prompt, usage, tally } = await answer(
      [text('First '), video(1), text(' then '), { kind: 'image', attachment: 0 }, text(' and '), video(2)],
      [image, source('two'), source('one')],
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
    videos.counted = () => videoOf(manyColours(5, 70))
    const asked = askOf([text('Hello'), video()], [source('counted')])
    const count = await backend.count(asked, new AbortController().signal)
    expect(count.videoTokens).toEqual([35])
    expect(await count.parts()).toEqual([
      { kind: 'text', tokens: 5 },
      { kind: 'video', attachment: 0, tokens: 35, frames: 5 },
    ])
  })

  it('gives its pixels back when its frames are encoded, and at once those that are left out', async () => {
    const frames = manyColours(1300, 3000).map((colour, time) => frameAt(time, colour, 8))
    videos.freed = () => ({ ...videoOf([]), frames })
    await answer([video(), text('What happens?')], [source('freed')])
    expect(frames.filter(({ rgb }) => rgb?.length !== 0)).toEqual([])
  })
})
