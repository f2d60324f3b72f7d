import { describe, expect, it, vi } from 'vitest'
import { press, tabTo, withBrowser } from '../support/browser.ts'
import { shape } from '../support/images.ts'
import { patient } from '../support/wait.ts'

describe('The page of the API', () => {
  const both = withBrowser()

  it('tries an endpoint with a picture of the person, by keyboard alone', async () => {
    const page = await both.browser.open(`${both.oriel.url}/docs`)
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
    const page = await both.browser.open(`${both.oriel.url}/docs`)
    await press(page, page.getByRole('link', { name: 'POST /tokenize' }))
    await page.getByRole('heading', { name: 'POST /tokenize' }).waitFor()
    expect(await page.getByLabel('Path').inputValue()).toBe('/tokenize')
    expect(await page.getByLabel('Body').inputValue()).toContain('"prompt"')
    await page.getByLabel('Body').fill('{"model": "pocket", "prompt": "a circle"}')
    await page.getByRole('button', { name: 'Send' }).click()
    await page.getByRole('log').getByText('"tokens"').waitFor()
    await page.getByLabel('Body').fill('{')
    await page.getByRole('button', { name: 'Send' }).click()
    await page.getByRole('log').getByText('400').waitFor()
    expect(both.browser.complaints().filter((text) => !text.includes('400 (Bad Request)'))).toEqual([])
  })

  it('shows the fields of an endpoint that takes a form', async () => {
    const page = await both.browser.open(`${both.oriel.url}/docs`)
    await press(page, page.getByRole('link', { name: 'POST /audio/transcriptions' }))
    await page.getByRole('heading', { name: 'Request, as a form' }).waitFor()
    await page.getByText('timestamp_granularities').first().waitFor()
    expect(await page.getByLabel('Body').count()).toBe(0)
  })

  it('unfolds the fields of an answer', async () => {
    const page = await both.browser.open(`${both.oriel.url}/docs`)
    await tabTo(page, page.locator('summary', { hasText: 'chat.completion' }).first())
    await page.keyboard.press('Enter')
    await page.getByText('choices', { exact: true }).first().waitFor()
  })

  it('keeps the endpoint and what is written for it when somebody skips to the content', async () => {
    const page = await both.browser.open(`${both.oriel.url}/docs`)
    await press(page, page.getByRole('link', { name: 'POST /tokenize' }))
    await page.getByLabel('Body').fill('{"model": "pocket"}')
    await page.getByRole('link', { name: 'Skip to the content' }).press('Enter')
    expect(new URL(page.url()).hash).toBe('#main')
    await page.getByRole('heading', { name: 'POST /tokenize' }).waitFor()
    expect(await page.getByLabel('Body').inputValue()).toBe('{"model": "pocket"}')
  })

  it('puts the model of the server into an example, and into nothing that a person wrote before it was known', async () => {
    const page = await both.browser.empty(both.oriel.url)
    let tell = (): void => undefined
    const told = new Promise<void>((resolve) => {
      tell = resolve
    })
    await page.route('**/v1/models', async (route) => {
      await told
      await route.fulfill({ json: { data: [{ id: 'another' }] } })
    })
    await page.goto(`${both.oriel.url}/docs`)
    const body = page.getByLabel('Body')
    await body.fill('{"mine": true}')
    const answered = page.waitForResponse('**/v1/models')
    tell()
    await (await answered).finished()
    await page.evaluate('new Promise((resolve) => setTimeout(resolve, 200))')
    expect(await body.inputValue()).toBe('{"mine": true}')
    await press(page, page.getByRole('link', { name: 'POST /tokenize' }))
    await vi.waitFor(async () => expect(await body.inputValue()).toContain('"another"'), patient)
  })
})
