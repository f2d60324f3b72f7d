import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { AxeBuilder } from '@axe-core/playwright'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Ask, Backend } from '../../src/app.ts'
import { dropPicture, startBrowser, type TestBrowser } from '../support/browser.ts'
import { plainBackend } from '../support/plain-backend.ts'
import { startServer, type TestServer } from '../support/server.ts'

/** Of Debian's packages. */
const ffmpeg = 'ffmpeg'
/** Three seconds that a browser can play. */
const clip = execFileSync(ffmpeg, [
  ...['-loglevel', 'error', '-f', 'lavfi', '-i', 'testsrc=size=320x180:rate=10:duration=3'],
  ...['-c:v', 'libvpx', '-b:v', '200k', '-f', 'webm', '-'],
])
const chime = readFileSync('examples/sounds/chime.wav')

/** Takes everything, keeps what it was asked, and says what it saw and heard. */
function keenBackend(asks: Ask[]): Backend {
  const plain = plainBackend('keen')
  return {
    ...plain,
    info: { ...plain.info, title: 'Keen', inputs: ['image', 'video', 'audio'] },
    async answer(ask, signal) {
      asks.push(ask)
      const { usage, events, ...answer } = await plain.answer(ask, signal)
      const [video, audio] = ask.attachments
      const work = { cached: null, encodeMs: 12 }
      const reported = {
        images: [],
        videos: [
          {
            ...{ param: video?.param ?? '', seconds: 3, width: 320, height: 180, seen: { width: 224, height: 126 } },
            ...{ tokens: 80, found: 3, taken: 3, fetchMs: 0, decodeMs: 5 },
            frames: [0, 1, 2].map((time) => ({ time, tokens: 27, ...work })),
          },
        ],
        audio: [{ ...work, param: audio?.param ?? '', seconds: 0.6, tokens: 15, chunks: 1, fetchMs: 0, decodeMs: 1 }],
      }
      return {
        ...answer,
        usage: { ...usage, imageTokens: [], videoTokens: [80], audioTokens: [15] },
        events: (async function* () {
          for await (const event of events)
            yield event.type === 'done' ? { ...event, tally: { ...event.tally, ...reported } } : event
        })(),
      }
    },
  }
}

/** Takes nothing but text. */
function deafBackend(): Backend {
  const plain = plainBackend('words')
  return { ...plain, info: { ...plain.info, title: 'Words', inputs: [] } }
}

describe('The page that asks, with videos and audio', () => {
  const asks: Ask[] = []
  let oriel: TestServer
  let browser: TestBrowser
  beforeAll(async () => {
    oriel = await startServer({}, [keenBackend(asks), deafBackend()])
    browser = await startBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    await oriel?.close()
  })
  afterEach(() => expect(browser.complaints()).toEqual([]))

  const open = async (model: string): Promise<Page> => {
    const page = await browser.open(`${oriel.url}/?model=${model}`)
    await page.getByRole('button', { name: model === 'words' ? 'takes text only' : /^Add / }).waitFor()
    return page
  }

  it('shows a frame and the length of what is dropped, sends it, and says what the model saw and heard', async () => {
    const page = await open('keen')
    await page.getByRole('button', { name: 'Add pictures, videos, audio or a PDF' }).waitFor()
    await dropPicture(page, 'clip.webm', clip, 'video/webm')
    await page.getByRole('button', { name: 'Remove clip.webm' }).waitFor()
    await dropPicture(page, 'chime.wav', chime, 'audio/wav')
    await page.getByRole('button', { name: 'Remove chime.wav' }).waitFor()
    const strip = page.getByRole('list', { name: 'Pictures of the question' })
    expect(await strip.locator('img').first().getAttribute('src')).toMatch(/^data:image\/jpeg/)
    await strip.getByText('0:03').waitFor()
    await page.getByLabel('Question', { exact: true }).fill('What happens?')
    await page.getByRole('button', { name: 'Send' }).click()
    await page.getByText('3 frames seen as 224 × 126 · 80 tokens · encoded in 36 ms').waitFor()
    await page.getByText('0.6 s heard · 15 tokens · encoded in 12 ms').waitFor()
    expect(asks.at(-1)?.attachments.map(({ kind }) => kind)).toEqual(['video', 'audio'])
    expect((await new AxeBuilder({ page }).analyze()).violations.map(({ id, nodes }) => [id, nodes[0]?.html])).toEqual(
      [],
    )
    if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/recordings.png` })

    await page.getByRole('button', { name: 'View code' }).click()
    await page.locator('pre', { hasText: 'input_audio' }).waitFor()
  })

  it('says why a model does not take a file, and names one here that does', async () => {
    const page = await browser.empty(oriel.url)
    let tell = (): void => undefined
    const told = new Promise<void>((resolve) => {
      tell = resolve
    })
    await page.route('**/v1/models', (route) => told.then(() => route.continue()))
    await page.goto(`${oriel.url}/?model=pocket`)
    await page.getByRole('button', { name: /^Add / }).waitFor()
    const alert = page.getByRole('alert')
    // Dropped before the page knows what its models take.
    await dropPicture(page, 'clip.webm', clip, 'video/webm')
    tell()
    await alert
      .getByText('clip.webm cannot be added: Pocket takes no videos. Models on this server that do: Keen.')
      .waitFor()
    await dropPicture(page, 'chime.wav', chime, 'audio/wav')
    await alert
      .getByText('chime.wav cannot be added: Pocket takes no audio. Models on this server that do: Keen.')
      .waitFor()
    await page.getByRole('button', { name: 'Add pictures or a PDF' }).waitFor()
    const words = await open('words')
    const button = words.getByRole('button', { name: 'Words takes text only' })
    expect(await button.isDisabled()).toBe(true)
    // An example is about a picture: without one it is not asked.
    const example = words.getByRole('button', { name: 'What is in this image?' })
    await example.click()
    await words.getByRole('alert').getByText('sample.png cannot be added: Words takes no pictures.').waitFor()
    expect(await words.getByRole('article').count()).toBe(0)
    expect(await example.isEnabled()).toBe(true)
  })
})
