import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { press, tabTo, withBrowser } from '../support/browser.ts'
import { dataUrl, shape } from '../support/images.ts'
import { startServer } from '../support/server.ts'

describe('The page of activity', () => {
  const both = withBrowser()

  const ask = async (over: object): Promise<number> => {
    const response = await fetch(`${both.oriel.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'pocket', messages: [{ role: 'user', content: 'Hello' }], ...over }),
    })
    await response.text()
    return response.status
  }

  it('shows a request with its phases, its tokens and its cost, as soon as it has ended', async () => {
    const page = await both.browser.open(`${both.oriel.url}/activity`)
    await page.getByText('No request has ended since the server started.').waitFor()
    const url = dataUrl(await shape('red'))
    const content = [
      { type: 'image_url', image_url: { url } },
      { type: 'text', text: 'What is in this image?' },
    ]
    expect(await ask({ messages: [{ role: 'user', content }] })).toBe(200)
    const row = page.getByRole('region', { name: 'Ended' }).getByRole('row').filter({ hasText: '/v1/chat/completions' })
    await row.getByText('200').waitFor()
    await row.getByText('1 picture').waitFor()
    await row.getByRole('img', { name: /Prefill: .*Generation: / }).waitFor()
    await page.getByText('Live', { exact: true }).waitFor()

    expect(await ask({ messages: [] })).toBe(400)
    await page.getByText('1 invalid').waitFor()
  })

  it('shows a request while it runs', async () => {
    const page = await both.browser.open(`${both.oriel.url}/activity`)
    const running = page.getByRole('region', { name: 'Now' }).getByRole('row').filter({ hasText: 'pocket' })
    let seen = false
    const look = running
      .first()
      .waitFor()
      .finally(() => {
        seen = true
      })
    while (!seen) await ask({ max_tokens: 3000, ignore_eos: true })
    await look
  })

  it('sums costs by model and account, and gives them as CSV', async () => {
    const page = await both.browser.open(`${both.oriel.url}/activity`)
    const costs = page.getByRole('region', { name: 'This month' })
    await costs.getByRole('row').filter({ hasText: 'pocket' }).waitFor()
    await tabTo(page, costs.getByLabel('Sums for each'))
    await page.keyboard.type('by account')
    await costs.getByRole('columnheader', { name: 'Account' }).waitFor()
    await costs.getByRole('row').filter({ hasText: 'local' }).waitFor()
    const download = page.waitForEvent('download')
    await press(page, costs.getByRole('button', { name: 'CSV' }))
    const csv = await readFile(await (await download).path(), 'utf8')
    expect(csv.split('\n')[0]).toContain('model')
    expect(csv).toContain('pocket')
  })

  it('says that it is not live when the server is gone, and goes on when it is back', async () => {
    const other = await startServer()
    const page = await both.browser.open(`${other.url}/activity`)
    await page.getByText('Live', { exact: true }).waitFor()
    await other.close()
    await page.getByText('Not live').waitFor()
    const back = await startServer({ server: { port: Number(new URL(other.url).port) } })
    await page.getByText('Live', { exact: true }).waitFor()
    await back.close()
    await page.close()
    expect(both.browser.complaints().filter((text) => !text.includes('net::ERR'))).toEqual([])
  })
})
