import type { Page } from 'playwright-core'
import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { dropPicture, keptFiles, sizes, withBrowser } from '../support/browser.ts'

describe('The list of conversations', () => {
  const both = withBrowser()

  it('forgets a conversation for good that is deleted while an answer arrives', async () => {
    const page = await both.browser.open(both.oriel.url)
    const list = page.getByRole('navigation', { name: 'Conversations' })
    await page.getByRole('button', { name: 'Where is the circle?' }).click()
    await page.getByRole('button', { name: 'Copy the answer' }).waitFor()
    // The next answer comes to no end.
    await page.evaluate(`{
      const real = fetch
      globalThis.fetch = (input, init) =>
        String(input).endsWith('/chat/completions')
          ? new Promise((_, reject) => init.signal.addEventListener('abort', () => reject(init.signal.reason)))
          : real(input, init)
    }`)
    await list.getByRole('button', { name: 'New' }).click()
    await page.getByRole('button', { name: 'What is in this image?' }).click()
    await page.getByRole('button', { name: 'Stop' }).waitFor()
    await list.getByRole('button', { name: 'Where is the circle?', exact: true }).click()
    await list.getByRole('button', { name: 'What is in this image?: options' }).click()
    await page.getByRole('menuitem', { name: 'Delete' }).click()
    await page.getByRole('button', { name: 'Delete', exact: true }).click()
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    expect(await list.locator('.entry').allTextContents()).toEqual(['Where is the circle?'])
    await page.reload()
    await list.getByRole('button', { name: 'Where is the circle?', exact: true }).waitFor()
    expect(await list.locator('.entry').allTextContents()).toEqual(['Where is the circle?'])
  })

  it('gives a conversation no name by the key with which an input method confirms a word', async () => {
    const page = await both.browser.open(both.oriel.url)
    const list = page.getByRole('navigation', { name: 'Conversations' })
    await page.getByRole('button', { name: 'Where is the circle?' }).click()
    await list.getByRole('button', { name: 'Where is the circle?: options' }).click()
    await page.getByRole('menuitem', { name: 'Rename' }).click()
    const field = page.getByLabel('Name of the conversation')
    await field.fill('まる')
    for (const key of ['Enter', 'Escape']) await field.dispatchEvent('keydown', { key, isComposing: true })
    expect(await field.inputValue()).toBe('まる')
    await field.press('Enter')
    await list.getByRole('button', { name: 'まる', exact: true }).waitFor()
  })

  it('says, also where it is closed, that this browser keeps nothing', async () => {
    const page = await both.browser.empty(both.oriel.url, sizes.phone)
    await page.addInitScript(`IDBFactory.prototype.open = () => { throw new DOMException('no', 'SecurityError') }`)
    await page.goto(both.oriel.url)
    await page.getByRole('button', { name: 'What is in this image?' }).click()
    await page.getByText('This browser does not keep conversations now').waitFor()
    await page.getByRole('button', { name: 'Conversations' }).click()
    await page.getByRole('dialog').getByText('This browser does not keep conversations now').waitFor()
  })

  it('says when pictures are too large to be exported', async () => {
    const page = await both.browser.open(both.oriel.url)
    await page.getByRole('button', { name: 'What is in this image?' }).click()
    await page.getByRole('button', { name: 'Copy the answer' }).waitFor()
    await page.evaluate(`FileReader.prototype.readAsDataURL = () => {
      throw new RangeError('Invalid string length')
    }`)
    await page.getByRole('button', { name: 'All conversations: options' }).click()
    await page.getByRole('menuitem', { name: 'Export all to a file' }).click()
    await page.getByRole('alert').getByText('Nothing was exported.').waitFor()
  })
})

describe('A conversation that goes on', () => {
  const both = withBrowser()

  /** The page, with what its next questions are answered with: text, or a status. What they ask comes back. */
  const answering = async (answers: (string | number)[], model = 'pocket') => {
    const asked: { model: string; messages: object[] }[] = []
    const page = await both.browser.open(`${both.oriel.url}/?model=${model}`)
    await page.route('**/v1/chat/completions', (route) => {
      asked.push(route.request().postDataJSON())
      const next = answers.shift() ?? 'No more.'
      const error = { message: `Refused with ${next}.`, type: 'error', param: null, code: null }
      if (next === 0) return route.abort()
      if (typeof next === 'number') return route.fulfill({ status: next, json: { error } })
      const choices = [{ delta: { content: next }, finish_reason: 'stop' }]
      return route.fulfill({ contentType: 'text/event-stream', body: `data: ${JSON.stringify({ choices })}\n\n` })
    })
    return { page, asked }
  }

  it('does not send again what the server refused as wrong, and sends again what it could not answer', async () => {
    const { page, asked } = await answering([415, 503, 0, 'Yes.'])
    for (const question of ['Refused', 'Too busy', 'Broken off', 'And now?']) await askNext(page, question)
    await page.locator('.prose').getByText('Yes.').waitFor()
    const parts = ['Too busy', 'Broken off', 'And now?'].map((text) => ({ type: 'text', text }))
    expect(asked.at(-1)?.messages).toEqual([{ role: 'user', content: parts }])
    // It knows so, too, when it is read again.
    await page.reload()
    await askNext(page, 'Still?')
    expect(JSON.stringify(asked.at(-1)?.messages)).not.toContain('Refused')
    expect(both.browser.complaints().filter((text) => !text.includes('Failed to load resource'))).toEqual([])
  })

  it('takes the next message for the result of a call only if all of the call is there', async () => {
    const { page, asked } = await answering(['Yes.'])
    await page.evaluate(`{
      const real = fetch
      let times = 0
      globalThis.fetch = async (input, init) => {
        if (!String(input).endsWith('/chat/completions') || times++ > 0) return real(input, init)
        const call = { index: 0, id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"pla' } }
        const choices = [{ delta: { tool_calls: [call] }, finish_reason: null }]
        const stream = new ReadableStream({
          start(controller) {
            controller.enqueue(new TextEncoder().encode('data: ' + JSON.stringify({ choices }) + '\\n\\n'))
            init.signal.addEventListener('abort', () => controller.error(init.signal.reason))
          },
        })
        return new Response(stream)
      }
    }`)
    await page.getByLabel('Question', { exact: true }).fill('Do I need an umbrella?')
    await page.getByRole('button', { name: 'Send' }).click()
    await page.locator('.call', { hasText: 'weather' }).waitFor()
    await page.getByRole('button', { name: 'Stop' }).click()
    await page.getByPlaceholder('Ask about a picture').waitFor()
    await askNext(page, 'Never mind')
    const parts = ['Do I need an umbrella?', 'Never mind'].map((text) => ({ type: 'text', text }))
    expect(asked.at(-1)?.messages).toEqual([{ role: 'user', content: parts }])
  })

  it('keeps its model while the server does not list it, and says so', async () => {
    const { page, asked } = await answering(['Yes.', 'Yes again.'])
    await askNext(page, 'Are you there?')
    await page.route('**/v1/models', (route) => route.fulfill({ json: { data: [{ id: 'other', state: 'loaded' }] } }))
    await page.reload()
    await page.getByRole('button', { name: 'Model: pocket, not here now' }).waitFor()
    await askNext(page, 'And now?')
    expect(asked.map(({ model }) => model)).toEqual(['pocket', 'pocket'])
    // One that has not begun is of no use without a model.
    await page.getByRole('button', { name: 'New' }).click()
    await page.reload()
    await page.getByRole('button', { name: 'Model: other, loaded' }).waitFor()
  })

  it('makes its photographs smaller that are too large for one request, and shows so', async () => {
    const page = await both.browser.open(both.oriel.url)
    const sent = page.waitForRequest('**/v1/chat/completions')
    for (const name of ['one.jpg', 'two.jpg', 'three.jpg']) {
      await dropPicture(page, name, await photograph(), 'image/jpeg')
      await page.getByRole('button', { name: `Remove ${name}` }).waitFor()
    }
    await askNext(page, 'What is in this image?')
    expect((await sent).postDataBuffer()?.length).toBeLessThan(10e6)
    const facts = await page.locator('.picture-facts').allTextContents()
    expect(facts.filter((text) => text.includes('shrunk from'))).not.toEqual([])
    // In place of the larger ones, not beside them.
    expect(await page.evaluate(keptFiles)).toBe(3)
    const shown = page.getByRole('list', { name: 'Pictures', exact: true }).locator('img')
    await page.reload()
    await page.getByRole('button', { name: 'Copy the answer' }).waitFor()
    expect(await shown.count()).toBe(3)
  })
})

/** Noise, of 3.3 MB. */
const photograph = (): Promise<Buffer> =>
  sharp({
    create: {
      width: 2400,
      height: 1700,
      channels: 3,
      background: 'grey',
      noise: { type: 'gaussian', mean: 128, sigma: 60 },
    },
  })
    .jpeg({ quality: 92 })
    .toBuffer()

/** Asks, and waits for the end of the answer. */
async function askNext(page: Page, question: string): Promise<void> {
  await page.getByLabel('Question', { exact: true }).fill(question)
  await page.getByRole('button', { name: 'Send' }).click()
  const turn = page.getByRole('article', { name: `Question: ${question}` })
  await turn.getByRole('button', { name: /^(Retry|Try again)$/ }).waitFor()
}
