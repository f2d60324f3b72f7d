import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { GenerateEvent } from '../../src/engine/index.ts'
import { asImages } from '../../src/media/index.ts'
import { dropPicture, startBrowser, type TestBrowser } from '../support/browser.ts'
import { endEvents, everyImage, promptEvent, scriptedBackend, serveBackend, textEvent } from '../support/scripted.ts'

const sent = { width: 200, height: 200 }
const media: typeof everyImage = {
  ...everyImage,
  load: async (...asked) =>
    (await everyImage.load(...asked)).map(asImages).map((file) => ({
      ...file,
      images: file.images.map((image) => Object.assign(image, { original: sent })),
    })),
}
const chatTemplate =
  "{% for m in messages %}{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}{% else %}<__media__>{% endif %}{% endfor %}{% endfor %}"

let browser: TestBrowser
let server: Awaited<ReturnType<typeof serveBackend>>
beforeAll(async () => {
  async function* script(): AsyncIterable<GenerateEvent> {
    yield { ...promptEvent, attachmentTokens: [1] } as GenerateEvent
    yield textEvent('[{"bbox_2d": [100, 200, 600, 700], "label": "circle"}]')
    for (const event of endEvents(9))
      yield event.type === 'done'
        ? { ...event, attachments: [{ kind: 'image', seen: sent, tiles: 1, cached: null, encodeMs: 0 }] }
        : event
  }
  server = await serveBackend(scriptedBackend(script, { longestEdge: 100, chatTemplate, coordinates: 1000, media }))
  browser = await startBrowser()
})
afterAll(async () => {
  await browser?.close()
  await server?.close()
})

it('the page draws the boxes of an answer on its picture, and does so again when it is loaded anew', async () => {
  const page = await browser.open(server.url)
  await dropPicture(page, 'sample.png', readFileSync('examples/sample.png'))
  await page.getByRole('button', { name: 'Remove sample.png' }).waitFor()
  await page.getByLabel('Question', { exact: true }).fill('Where is the circle?')
  // The models may not be listed yet.
  await page.getByRole('button', { name: 'Send' }).click({ trial: true })
  await page.keyboard.press('Enter')
  for (const load of [() => undefined, () => page.reload()]) {
    await load()
    const box = page.locator('.marked .mark.box')
    await box.getByText('circle').waitFor()
    expect(await box.getAttribute('style')).toMatch(/left: 10%; top: 20%; width: 50%; height: 50%/)
  }
})
