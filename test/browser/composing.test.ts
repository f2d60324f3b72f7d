import { readFileSync } from 'node:fs'
import type { Page } from 'playwright-core'
import { describe, expect, it } from 'vitest'
import { dropPicture, withBrowser } from '../support/browser.ts'

const sample = readFileSync('examples/sample.png')
const focused = `document.activeElement?.ariaLabel ?? ''`

describe('A question that is being written', () => {
  const both = withBrowser()

  /** The page, when a question can be sent. */
  const opened = async (): Promise<Page> => {
    const page = await both.browser.open(both.oriel.url)
    await page.getByRole('button', { name: 'What is in this image?' }).click({ trial: true })
    return page
  }

  it('waits for a file that was just added, and is sent with it', async () => {
    const page = await opened()
    // The picture is looked at until the test says so.
    await page.evaluate(`{
      const real = createImageBitmap
      globalThis.createImageBitmap = (...all) =>
        new Promise((resolve) => {
          globalThis.goOn = () => resolve(real(...all))
        })
    }`)
    await dropPicture(page, 'red.png', sample)
    await page.getByRole('img', { name: 'A file is being read' }).waitFor()
    await page.getByLabel('Question', { exact: true }).fill('What is in this image?')
    await page.keyboard.press('Enter')
    expect(await page.getByRole('button', { name: 'Send' }).isDisabled()).toBe(true)
    expect(await page.getByRole('article').count()).toBe(0)

    await page.evaluate('goOn()')
    await page.getByRole('button', { name: 'Remove red.png' }).waitFor()
    expect(await page.getByRole('img', { name: 'A file is being read' }).count()).toBe(0)
    await page.keyboard.press('Enter')
    await page.locator('.prose').getByText('A red circle on a white background.').waitFor()
    await page.getByRole('list', { name: 'Pictures', exact: true }).getByAltText('red.png').waitFor()
  })

  it('is not sent by the Enter that confirms what an input method offers', async () => {
    const page = await opened()
    const field = page.getByLabel('Question', { exact: true })
    await field.fill('なに')
    // Safari sends it when the composition has ended.
    await field.dispatchEvent('keydown', { key: 'Enter', keyCode: 229 })
    expect(await field.inputValue()).toBe('なに')
    expect(await page.getByRole('article').count()).toBe(0)
    await field.press('Enter')
    await page.getByRole('article').waitFor()
  })

  it('keeps the focus when a picture is removed, and says which', async () => {
    const page = await opened()
    for (const name of ['one.png', 'two.png']) {
      await dropPicture(page, name, sample)
      await page.getByRole('button', { name: `Remove ${name}` }).waitFor()
    }
    await page.getByRole('button', { name: 'one.png, 1 of 2' }).press('Delete')
    await page.getByText('Removed one.png.').waitFor({ state: 'attached' })
    expect(await page.evaluate(focused)).toBe('two.png: options')
    await page.keyboard.press('Enter')
    await page.getByRole('menuitem', { name: 'Remove' }).press('Enter')
    await page.getByText('Removed two.png.').waitFor({ state: 'attached' })
    expect(await page.evaluate(focused)).toBe('Question')
  })

  it('has the focus when an earlier one is rewritten', async () => {
    const page = await opened()
    await page.getByRole('button', { name: 'What is in this image?' }).click()
    // A browser follows the attribute for it once for each page.
    for (const _ of ['once', 'again']) {
      await page.getByRole('button', { name: 'Edit the question' }).click()
      await page.getByLabel('Another wording of the question').waitFor()
      expect(await page.evaluate(focused)).toBe('Another wording of the question')
      await page.keyboard.press('Escape')
    }
  })

  it('keeps the wording of each question that is being rewritten, whichever is rewritten beside it', async () => {
    const page = await opened()
    for (const question of ['Hello', 'Hello again']) {
      await page.getByLabel('Question', { exact: true }).fill(question)
      await page.getByRole('button', { name: 'Send' }).click()
    }
    const turns = page.getByRole('article')
    const fieldIn = (turn: number) => turns.nth(turn).getByLabel('Another wording of the question')
    for (const turn of [0, 1]) await turns.nth(turn).getByRole('button', { name: 'Edit the question' }).click()
    await fieldIn(0).fill('Good morning')
    await fieldIn(1).fill('Good evening')
    // A key that an input method takes cancels nothing.
    await fieldIn(1).dispatchEvent('keydown', { key: 'Escape', isComposing: true })
    expect(await fieldIn(1).inputValue()).toBe('Good evening')
    await fieldIn(1).press('Escape')
    expect(await fieldIn(1).count()).toBe(0)
    expect(await fieldIn(0).inputValue()).toBe('Good morning')
  })

  it('is still there when the page is loaded again, with its pictures', async () => {
    const page = await opened()
    await dropPicture(page, 'red.png', sample)
    await page.getByRole('button', { name: 'Remove red.png' }).waitFor()
    const field = page.getByLabel('Question', { exact: true })
    await field.fill('What color is it?')
    await page.reload()
    await page.getByRole('button', { name: 'Remove red.png' }).waitFor()
    expect(await field.inputValue()).toBe('What color is it?')
    await page.getByRole('button', { name: 'Send' }).click()
    await page.locator('.prose').getByText('red').waitFor()
    await page.reload()
    await page.locator('.prose').getByText('red').waitFor()
    expect(await field.inputValue()).toBe('')
    expect(await page.getByRole('list', { name: 'Pictures of the question' }).count()).toBe(0)
  })

  it('stays as a person wrote it when they take a recipe or begin a conversation', async () => {
    const page = await opened()
    const field = page.getByLabel('Question', { exact: true })
    await dropPicture(page, 'red.png', sample)
    await page.getByRole('button', { name: 'Remove red.png' }).waitFor()
    await field.fill('My own words')
    await page.getByRole('button', { name: 'Charts to data' }).click()
    await page.getByText('“Charts to data” is for models like').waitFor()
    await page.getByRole('button', { name: 'New' }).click()
    expect(await field.inputValue()).toBe('My own words')
    expect(await page.getByRole('button', { name: /^Remove / }).count()).toBe(1)

    // What a recipe has put there goes with it, but for what was changed.
    await page.getByRole('button', { name: 'Remove red.png' }).click()
    await field.fill('')
    await page.getByRole('button', { name: 'Charts to data' }).click()
    await page.getByRole('button', { name: 'Remove chart.png' }).waitFor()
    await field.fill('Which bar is the highest?')
    await page.getByRole('button', { name: 'New' }).click()
    await page.getByRole('button', { name: 'Remove chart.png' }).waitFor({ state: 'detached' })
    expect(await field.inputValue()).toBe('Which bar is the highest?')
  })

  it('is not sent before the conversations of the browser are read, which would take its place', async () => {
    const page = await both.browser.empty(both.oriel.url)
    // The browser opens its store when the test says so.
    await page.addInitScript(`{
      const real = IDBFactory.prototype.open
      IDBFactory.prototype.open = function (...all) {
        const later = {}
        globalThis.goOn = () => {
          const request = real.apply(this, all)
          for (const name of ['onupgradeneeded', 'onsuccess', 'onerror']) request[name] = later[name]
          Object.defineProperty(later, 'result', { get: () => request.result })
        }
        return later
      }
      localStorage.setItem('oriel.models', 'pocket')
    }`)
    await page.goto(both.oriel.url)
    await page.getByLabel('Question', { exact: true }).fill('Hello')
    await page.keyboard.press('Enter')
    expect(await page.getByRole('article').count()).toBe(0)
    await page.evaluate('goOn()')
    await page.getByRole('button', { name: 'Send' }).click()
    await page.getByRole('article', { name: 'Question: Hello' }).waitFor()
  })

  it('says why an example cannot be asked while the server is away, and can be asked afterwards', async () => {
    const page = await opened()
    await page.route('**/sample*.png', (route) => route.abort())
    await page.getByRole('button', { name: 'What is in this image?' }).click()
    await page.getByRole('alert').getByText('sample.png cannot be loaded: the server may be away.').waitFor()
    expect(await page.getByRole('article').count()).toBe(0)
    expect(both.browser.complaints().filter((text) => !text.includes('ERR_FAILED'))).toEqual([])
    await page.unroute('**/sample*.png')
    await page.getByRole('button', { name: 'What is in this image?' }).click()
    await page.locator('.prose').getByText('A red circle on a white background.').waitFor()
  })
})
