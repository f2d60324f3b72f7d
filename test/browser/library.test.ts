import { copyFile, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { dropPicture, press, startBrowser, type TestBrowser, tabTo } from '../support/browser.ts'
import { FakeHub } from '../support/hub.ts'
import { shape } from '../support/images.ts'
import { pocketFolder } from '../support/pocket.ts'
import { startServer, type TestServer } from '../support/server.ts'

const decoder = await readFile(`${pocketFolder}pocket.gguf`)
const vision = await readFile(`${pocketFolder}mmproj-pocket.gguf`)
const files = {
  'SmolVLM-256M-Instruct-Q8_0.gguf': { content: decoder },
  'mmproj-SmolVLM-256M-Instruct-Q8_0.gguf': { content: vision },
}

describe('The page of models', () => {
  let home: string
  let hub: FakeHub
  let oriel: TestServer
  let browser: TestBrowser
  beforeAll(async () => {
    home = await mkdtemp(path.join(tmpdir(), 'oriel-library-'))
    hub = await FakeHub.start({ 'ggml-org/SmolVLM-256M-Instruct-GGUF': { files } })
    oriel = await startServer({ models: { dirs: [path.join(home, 'own')], hub: { endpoint: hub.url, home } } })
    browser = await startBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    await oriel?.close()
    await hub?.close()
    await rm(home, { recursive: true })
  })
  afterEach(() => {
    expect(browser.complaints()).toEqual([])
  })

  it('downloads a model with its progress, loads it, unloads it and removes it, by keyboard alone', async () => {
    hub.trouble.pace = 200
    const page = await browser.open(`${oriel.url}/library`)
    const elsewhere = page.getByRole('region', { name: 'To download' })
    const here = page.getByRole('region', { name: 'On this machine' })
    const smol = { name: 'SmolVLM 256M Instruct' }
    await press(page, elsewhere.getByRole('article', smol).getByRole('button', { name: 'Download' }))
    const progress = elsewhere.getByRole('progressbar')
    await progress.and(page.locator(':not([aria-valuenow="0"])')).waitFor()
    const total = ((decoder.length + vision.length) / 1e6).toFixed(1)
    await elsewhere.getByText(new RegExp(`Downloading \\d+ % · [\\d.]+ [kM]B of ${total} MB`)).waitFor()
    hub.trouble.pace = 0

    // Its title is the catalogue's, whatever its file says.
    const card = here.getByRole('article').filter({ hasText: 'ggml-org/SmolVLM-256M-Instruct-GGUF' })
    await press(page, card.getByRole('button', { name: 'Load' }))
    await card.getByText('In memory').waitFor()
    await press(page, card.getByRole('button', { name: 'Unload' }))
    await card.getByText('On this machine').waitFor()

    const remove = card.getByRole('button', { name: 'Remove' })
    await press(page, remove)
    const dialog = page.getByRole('dialog', { name: 'Remove SmolVLM 256M Instruct?' })
    await dialog.getByText('mmproj-SmolVLM-256M-Instruct-Q8_0.gguf').waitFor()
    await dialog.getByText('The model can be downloaded again.').waitFor()
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
    await remove.and(page.locator(':focus')).waitFor()
    await page.keyboard.press('Enter')
    await press(page, dialog.getByRole('button', { name: 'Remove' }))
    await elsewhere.getByRole('article', smol).getByRole('button', { name: 'Download' }).waitFor()
    expect(await here.getByRole('article').count()).toBe(1)
  })

  it('does not promise that a model of the person can be downloaded again', async () => {
    const own = path.join(home, 'own', 'mine')
    await mkdir(own, { recursive: true })
    for (const name of ['', 'mmproj-'])
      await copyFile(`${pocketFolder}${name}pocket.gguf`, path.join(own, `${name}mine.gguf`))
    const page = await browser.open(`${oriel.url}/library`)
    const card = page.getByRole('region', { name: 'On this machine' }).getByRole('article').filter({ hasText: 'mine' })
    await card.getByRole('button', { name: 'Remove' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText('This is the only copy that Oriel knows of.').waitFor()
    await dialog.getByRole('button', { name: 'Remove' }).click()
    await card.waitFor({ state: 'detached' })
  })

  it('says when something else answers in place of the server, and goes on after it', async () => {
    const page = await browser.empty(oriel.url)
    await page.route('**/admin/models', (route) => route.fulfill({ contentType: 'text/html', body: '<p>Sign in</p>' }))
    await page.goto(`${oriel.url}/library`)
    await page.getByRole('alert').getByText('The server did not answer as expected.').waitFor()
    await page.unroute('**/admin/models')
    await page.getByRole('article').first().waitFor()
    expect(await page.getByRole('alert').count()).toBe(0)
  })

  it('cancels a download', async () => {
    hub.trouble.pace = 200
    const page = await browser.open(`${oriel.url}/library`)
    const card = page.getByRole('article', { name: 'SmolVLM 256M Instruct' })
    await card.getByRole('button', { name: 'Download' }).click()
    await card.getByRole('button', { name: 'Cancel' }).click()
    await card.getByRole('button', { name: 'Download' }).waitFor()
  })

  it('says what a name of the hub lacks', async () => {
    const page = await browser.open(`${oriel.url}/library`)
    await page.getByLabel('Another model of Hugging Face').fill('nobody/nothing')
    await page.keyboard.press('Enter')
    const failed = page
      .getByRole('region', { name: 'Downloads' })
      .getByRole('article')
      .filter({ hasText: 'nobody/nothing' })
    await failed.getByText('The hub').waitFor()
    await press(page, failed.getByRole('button', { name: 'Dismiss' }))
    await failed.waitFor({ state: 'detached' })
  })

  it('finds models by words, size, licence and what they can do', async () => {
    const page = await browser.open(`${oriel.url}/library`)
    const names = () => page.getByRole('article').getByRole('heading').allTextContents()
    await page.getByRole('button', { name: /View \d+ more/ }).waitFor()
    expect(await names()).toHaveLength(4)
    await page.getByRole('button', { name: /View \d+ more/ }).click()
    expect((await names()).length).toBeGreaterThan(30)

    await tabTo(page, page.getByRole('searchbox'))
    await page.keyboard.type('pixtral 12B')
    expect(await names()).toEqual(['Pixtral 12B 2409'])
    await page.getByRole('searchbox').fill('no such model')
    expect(await names()).toEqual([])
    await page.getByRole('button', { name: 'Show all models' }).first().click()

    await page.getByLabel('Size of its files').selectOption('up to 4.0 GB')
    await page.getByLabel('Licence').selectOption('mit')
    expect(await names()).toEqual(['Pocket', 'Ultravox 0.5 1B', 'InternVL2.5 1B', 'InternVL2.5 4B', 'DeepSeek-OCR'])
    await tabTo(page, page.getByLabel('Calls tools'))
    await page.keyboard.press('Space')
    expect(await names()).not.toContain('InternVL2.5 1B')
  })

  it('counts the tokens of a picture that is dropped, which stays in the browser', async () => {
    const page = await browser.open(`${oriel.url}/library`)
    const sent: string[] = []
    page.on('request', (request) => sent.push(`${request.method()} ${new URL(request.url()).pathname}`))
    await page.getByRole('article', { name: 'Pocket' }).waitFor()
    await dropPicture(page, 'circle.png', await shape('red', 'circle', 640))
    await page.getByText('Image tokens are for circle.png (640 × 640).').waitFor()
    const response = await fetch(`${oriel.url}/admin/models/image-tokens?width=640&height=640`)
    const { models } = (await response.json()) as { models: { low: { tokens: number }; high: { tokens: number } }[] }
    const [pocket] = models
    await page.getByText(`${pocket?.low.tokens} low, ${pocket?.high.tokens} high`).waitFor()
    expect(sent.filter((request) => request.startsWith('POST'))).toEqual([])
    expect(sent).toContain('GET /admin/models/image-tokens')

    await dropPicture(page, 'notes.png', Buffer.from('no picture'))
    await page.getByText('That file is no picture').waitFor()
  })
})
