import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import AxeBuilder from '@axe-core/playwright'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { press, remembering, startBrowser, type TestBrowser } from '../support/browser.ts'
import { jsonl, pictureExample } from '../support/examples.ts'
import { shape } from '../support/images.ts'
import { startKeyed } from '../support/keyed.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

describe('The page of tuning', () => {
  let folder: string
  let oriel: TestServer
  let browser: TestBrowser
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'oriel-tuning-'))
    oriel = await startServer({
      accounts: { dataDir: path.join(folder, 'data') },
      models: { dirs: [path.join(folder, 'models')] },
    })
    browser = await startBrowser()
  })
  afterAll(async () => {
    await browser?.close()
    await oriel?.close()
    await rm(folder, { recursive: true })
  })
  afterEach(() => {
    expect(browser.complaints()).toEqual([])
  })

  const file = (name: string, text: string) => ({ name, mimeType: 'application/jsonl', buffer: Buffer.from(text) })

  it('sends a dataset, learns from it, shows the loss, and asks what came of it', async () => {
    const page = await browser.open(`${oriel.url}/tuning`)
    await page.getByText('There are none yet.').waitFor()
    expect(await page.getByRole('button', { name: 'New job' }).isDisabled()).toBe(true)

    const colours = ['red', 'green', 'blue'] as const
    const examples = await Promise.all(
      colours.map(async (colour) => pictureExample(await shape(colour), 'What is it?', `A ${colour} circle, Sir.`)),
    )
    await press(page, page.getByRole('button', { name: 'New dataset' }))
    const sending = page.getByRole('dialog', { name: 'New dataset' })
    await sending.getByLabel('File').setInputFiles(file('My shapes.jsonl', jsonl(examples)))
    await press(page, sending.getByRole('button', { name: 'Send' }))
    const row = page.getByRole('row').filter({ hasText: 'my-shapes' })
    await row.getByText('Can be used').waitFor()

    await press(page, page.getByRole('button', { name: 'New job' }))
    const making = page.getByRole('dialog', { name: 'New job' })
    await making.getByText('my-shapes (3 examples)').waitFor({ state: 'attached' })
    await making.getByLabel('Name of the adapter').fill('butler')
    await press(page, making.getByText('How it is trained'))
    await making.getByLabel('Epochs').fill('2')
    await press(page, making.getByRole('button', { name: 'Begin' }))
    await making.waitFor({ state: 'detached' })

    const job = page.getByRole('article', { name: 'butler' })
    await job.getByText('Done').waitFor()
    await job.getByRole('img', { name: /^Loss: [\d.]+ at the first step, [\d.]+ at step 2 of 2/ }).waitFor()
    expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([])

    await press(page, job.getByRole('button', { name: 'Download' }))
    const files = page.getByRole('dialog', { name: 'Download butler' })
    const adapter = files.getByRole('link', { name: 'adapter_model.safetensors' })
    const [download] = await Promise.all([page.waitForEvent('download'), press(page, adapter)])
    expect(download.suggestedFilename()).toBe('adapter_model.safetensors')
    await page.keyboard.press('Escape')

    await press(page, job.getByRole('link', { name: 'Ask it' }))
    await page
      .getByRole('button', { name: /butler/ })
      .first()
      .waitFor()
  })

  it('takes a better file in the place of one that cannot be used', async () => {
    const page = await browser.open(`${oriel.url}/tuning`)
    await page.getByRole('button', { name: 'New dataset' }).click()
    const sending = page.getByRole('dialog', { name: 'New dataset' })
    await sending.getByLabel('File').setInputFiles(file('again.jsonl', 'nonsense\n'))
    await sending.getByRole('button', { name: 'Send' }).click()
    await sending.getByRole('alert').getByText('line 1: the line is not JSON.').waitFor()
    const example = pictureExample(await shape('red'), 'What is it?', 'A red circle, Sir.')
    const examples = [example, example, example]
    await sending.getByLabel('File').setInputFiles(file('again.jsonl', jsonl(examples)))
    await sending.getByRole('button', { name: 'Send' }).click()
    const row = page.getByRole('row').filter({ hasText: 'again' })
    await row.getByText('Can be used').waitFor()
    expect(browser.complaints().filter((text) => !/400 \(Bad Request\)|409 \(Conflict\)/.test(text))).toEqual([])
    await press(page, row.getByRole('button', { name: 'Remove again' }))
    await page.getByRole('dialog', { name: 'Remove again?' }).getByRole('button', { name: 'Remove' }).click()
    await row.waitFor({ state: 'detached' })
  })

  it('says which lines of a file are wrong, and removes it', async () => {
    const page = await browser.open(`${oriel.url}/tuning`)
    await page.getByRole('button', { name: 'New dataset' }).click()
    const sending = page.getByRole('dialog', { name: 'New dataset' })
    await sending.getByLabel('File').setInputFiles(file('broken.jsonl', '{"messages": 3}\nnonsense\n'))
    await sending.getByRole('button', { name: 'Send' }).click()
    await sending.getByRole('alert').getByText('line 1: messages is 3; it must be a list.').waitFor()
    await page.keyboard.press('Escape')
    const row = page.getByRole('row').filter({ hasText: 'broken' })
    await row.getByText('Why it cannot be used').click()
    await row.getByText('Line 2: the line is not JSON.').waitFor()
    // The browser says by itself that a request was refused.
    expect(browser.complaints().filter((text) => !text.includes('400 (Bad Request)'))).toEqual([])
    await press(page, row.getByRole('button', { name: 'Remove broken' }))
    await page.getByRole('dialog', { name: 'Remove broken?' }).getByRole('button', { name: 'Remove' }).click()
    await row.waitFor({ state: 'detached' })
  })

  it('says when there are more datasets than it shows', async () => {
    const page = await browser.empty(oriel.url)
    const one = { name: 'accounts/local/datasets/one', createTime: '2026-11-30T10:00:00Z', state: 'READY' }
    const more = { displayName: '', status: { code: 'OK', message: '' }, report: null, problems: [] }
    const json = { datasets: [{ ...one, ...more }], totalSize: 1300 }
    await page.route('**/v1/accounts/-/datasets?*', (route) => route.fulfill({ json }))
    await page.goto(`${oriel.url}/tuning`)
    await page.getByText('The newest 1 of 1,300 are shown.').waitFor()
  })

  it('lets the key of an account send datasets, and says that jobs are for who administers the server', async () => {
    const keyed = await startKeyed()
    try {
      const { secret } = await keyed.keyOf({ account: 'team', scopes: ['inference'] })
      const page = await browser.open(`${keyed.url}/tuning`, remembering(keyed.url, secret))
      await page.getByRole('button', { name: 'New dataset' }).click()
      const sending = page.getByRole('dialog', { name: 'New dataset' })
      await vi.waitFor(async () => expect(await sending.getByLabel('Account').inputValue()).toBe('team'), patient)
      const example = pictureExample(await shape('red'), 'What is it?', 'A red circle, Sir.')
      await sending.getByLabel('File').setInputFiles(file('ours.jsonl', jsonl([example, example, example])))
      await sending.getByRole('button', { name: 'Send' }).click()
      await page.getByRole('row').filter({ hasText: 'ours' }).getByText('Can be used').waitFor()

      await page.getByRole('button', { name: 'New job' }).click()
      const making = page.getByRole('dialog', { name: 'New job' })
      await making.getByRole('button', { name: 'Begin' }).click()
      await making.getByRole('alert').getByText('This needs an API key with the scope admin.').waitFor()
      await page.keyboard.press('Escape')
      await page.getByText('Jobs cannot be begun or changed from here.').waitFor()
      expect(await page.getByRole('button', { name: 'New job' }).isDisabled()).toBe(true)
      expect(browser.complaints().filter((text) => !text.includes('403 (Forbidden)'))).toEqual([])
    } finally {
      await keyed.close()
    }
  })
})
