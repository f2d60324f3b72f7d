import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { press, startBrowser, type TestBrowser, tabTo } from '../support/browser.ts'
import { shape } from '../support/images.ts'
import { startServer, type TestServer } from '../support/server.ts'

describe('The page of the API', () => {
  let oriel: TestServer
  let browser: TestBrowser
  beforeAll(async () => {
    oriel = await startServer()
    browser = await startBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    await oriel?.close()
  })
  afterEach(() => {
    expect(browser.complaints()).toEqual([])
  })

  it('tries an endpoint with a picture of the person, by keyboard alone', async () => {
    const page = await browser.open(`${oriel.url}/docs`)
    const chosen = page.waitForEvent('filechooser')
    await press(page, page.getByRole('button', { name: 'Use my picture' }))
    const bytes = await shape('blue', 'square')
    await (await chosen).setFiles({ name: 'mine.png', mimeType: 'image/png', buffer: bytes })
    const sent = page.waitForRequest((request) => request.method() === 'POST')
    await press(page, page.getByRole('button', { name: 'Send' }))
    expect((await sent).postData()).toContain(bytes.toString('base64'))
    await page.getByRole('log').getByText('A blue square').waitFor()
    expect(await page.getByLabel('Body').inputValue()).not.toContain(bytes.toString('base64'))
  })

  it('sends what a person wrote, to the base and the path that they chose', async () => {
    const page = await browser.open(`${oriel.url}/docs`)
    await press(page, page.getByRole('link', { name: 'POST /tokenize' }))
    await page.getByRole('heading', { name: 'POST /tokenize' }).waitFor()
    await page.getByLabel('Body').fill('{"model": "pocket", "prompt": "a circle"}')
    await page.getByRole('button', { name: 'Send' }).click()
    await page.getByRole('log').getByText('"tokens"').waitFor()
    await page.getByLabel('Body').fill('{')
    await page.getByRole('button', { name: 'Send' }).click()
    await page.getByRole('log').getByText('400').waitFor()
    expect(browser.complaints().filter((text) => !text.includes('400 (Bad Request)'))).toEqual([])
  })

  it('shows the fields of an endpoint that takes a form', async () => {
    const page = await browser.open(`${oriel.url}/docs`)
    await press(page, page.getByRole('link', { name: 'POST /audio/transcriptions' }))
    await page.getByRole('heading', { name: 'Request, as a form' }).waitFor()
    await page.getByText('timestamp_granularities').first().waitFor()
    expect(await page.getByLabel('Body').count()).toBe(0)
  })

  it('unfolds the fields of an answer', async () => {
    const page = await browser.open(`${oriel.url}/docs`)
    await tabTo(page, page.locator('summary', { hasText: 'chat.completion' }).first())
    await page.keyboard.press('Enter')
    await page.getByText('choices', { exact: true }).first().waitFor()
  })
})
