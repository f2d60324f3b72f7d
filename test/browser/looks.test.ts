import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import AxeBuilder from '@axe-core/playwright'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { remembering, sizes, startBrowser, type TestBrowser } from '../support/browser.ts'
import { dataUrl, shape } from '../support/images.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

const key = 'the-key-of-the-administrator'
/** Each page, and what is there when it can be used. */
const pages = [
  ['/', 'textarea'],
  ['/library', 'article'],
  ['/tuning', '#datasets'],
  ['/activity', '#finished'],
  ['/keys', '#accounts'],
  ['/docs', 'textarea'],
] as const

describe('The pages', () => {
  let folder: string
  let oriel: TestServer
  let open: TestServer
  let browser: TestBrowser
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'oriel-looks-'))
    oriel = await startServer({ accounts: { dataDir: folder, adminKey: key } })
    open = await startServer()
    browser = await startBrowser()
    const url = dataUrl(await shape('red'))
    for (const content of ['Hello', [{ type: 'image_url', image_url: { url } }], []])
      await post('/v1/chat/completions', { model: 'pocket', max_tokens: 8, messages: [{ role: 'user', content }] })
    for (const account of ['team', 'a-long-name-of-an-account@department.example.org'])
      await post('/admin/keys', {
        account,
        note: 'What it is for, in a sentence that is longer than a line of a phone.',
      })
  })
  afterAll(async () => {
    await browser?.close()
    await oriel?.close()
    await open?.close()
    await rm(folder, { recursive: true })
  })
  afterEach(() => {
    expect(browser.complaints()).toEqual([])
  })

  const post = async (place: string, body: object): Promise<void> => {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` }
    await (await fetch(oriel.url + place, { method: 'POST', headers, body: JSON.stringify(body) })).text()
  }

  const cases = pages.flatMap(([place, ready]) =>
    (['phone', 'desk'] as const).flatMap((size) =>
      (['light', 'dark'] as const).map((colorScheme) => ({ place, ready, size, colorScheme })),
    ),
  )
  it.each(cases)(
    '$place has no flaw that axe finds, and does not scroll sideways: $size, $colorScheme',
    async (one) => {
      const options = { ...sizes[one.size], colorScheme: one.colorScheme, ...remembering(oriel.url, key) }
      const page = await browser.open(oriel.url + one.place, options)
      await page.locator(one.ready).first().waitFor()
      const { violations } = await new AxeBuilder({ page }).analyze()
      expect(
        violations.map(({ id, nodes }) => [id, ...nodes.map(({ html, failureSummary }) => [html, failureSummary])]),
      ).toEqual([])
      const beside = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth')
      expect(beside).toBeLessThanOrEqual(0)
      await page.context().close()
    },
  )

  it.each(['phone', 'desk'] as const)('say that a server has no keys, without a flaw: %s', async (size) => {
    const page = await browser.open(`${open.url}/keys`, sizes[size])
    await page.getByRole('heading', { name: 'This server has no keys' }).waitFor()
    expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([])
  })

  it('ask for a key once, and not again and again, where the server wants one', async () => {
    const refused = ['/library', '/tuning', '/activity', '/keys']
    const opened = await Promise.all(refused.map((place) => browser.open(oriel.url + place)))
    for (const page of opened) await page.getByRole('alert').getByText('This server needs a key.').waitFor()
    await pause(3000)
    expect(browser.complaints().map((text) => text.includes('401 (Unauthorized)'))).toEqual(refused.map(() => true))
    const [page] = opened
    await page?.getByLabel('A key of this server').fill(key)
    await page?.keyboard.press('Enter')
    await page?.getByRole('article').first().waitFor()
  })

  it('look the same whichever page was open before', async () => {
    const page = await browser.open(open.url)
    await page.getByRole('button', { name: 'What is in this image?' }).click()
    await page.getByRole('button', { name: 'Copy the answer' }).waitFor()
    await page.getByText('seen as').waitFor()
    const places = `[...document.querySelectorAll('main *')].map((one) => {
      const { x, y, width, height } = one.getBoundingClientRect()
      return [one.tagName, x, y, width, height].join(' ')
    })`
    const before = await page.evaluate(places)
    for (const name of ['Models', 'Tuning', 'Activity', 'Keys', 'API']) {
      await page.getByRole('link', { name, exact: true }).click()
      await page.getByRole('heading', { name, level: 1 }).waitFor()
    }
    await page.getByRole('link', { name: 'Ask', exact: true }).click()
    await page.getByText('seen as').waitFor()
    await vi.waitFor(async () => expect(await page.evaluate(places)).toEqual(before), patient)
  })

  it('say that a page cannot be loaded, and leave the others', async () => {
    const page = await browser.open(open.url)
    await page.route('**/assets/page-*.js', (route) => route.abort())
    await page.getByRole('link', { name: 'Models', exact: true }).click()
    await page.getByRole('alert').getByText('cannot be shown').waitFor()
    await page.getByRole('link', { name: 'Ask', exact: true }).click()
    await page.getByRole('heading', { name: 'Show it a picture' }).waitFor()
    browser.complaints()
  })

  it('fit all their names into the bar of the narrowest phone', async () => {
    const page = await browser.open(open.url, { ...sizes.phone, viewport: { width: 320, height: 640 } })
    await page.getByRole('link', { name: 'API' }).waitFor()
    const beside = `[...document.querySelectorAll('.rail, .rail > *')].map((one) => one.scrollWidth - one.clientWidth)`
    expect(Math.max(...(await page.evaluate<number[]>(beside)))).toBe(0)
    const last = await page.getByRole('button', { name: 'Colours' }).boundingBox()
    expect((last?.x ?? 0) + (last?.width ?? 0)).toBeLessThanOrEqual(320)
    if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/narrow.png` })
  })

  it.each(['phone', 'tablet', 'desk'] as const)('show every column of a table: %s', async (size) => {
    for (const place of ['/keys', '/activity']) {
      const page = await browser.open(oriel.url + place, { ...sizes[size], ...remembering(oriel.url, key) })
      await page.getByRole('table').first().waitFor()
      const beside = `Math.max(...[...document.querySelectorAll('.scroll')].map((one) => one.scrollWidth - one.clientWidth))`
      expect(await page.evaluate(beside)).toBe(0)
      await page.context().close()
    }
  })

  // The figures of docs/pages.md.
  it.each(pages)('%s loads little, jumps nowhere, and is soon ready on a slow machine', async (place, ready) => {
    const page = await browser.empty(oriel.url, { ...sizes.phone, ...remembering(oriel.url, key) })
    const bodies: Promise<number>[] = []
    page.on('response', (response) => {
      if (/\.(js|css)$/.test(new URL(response.url()).pathname))
        bodies.push(response.body().then((body) => gzipSync(body).length))
    })
    const session = await page.context().newCDPSession(page)
    await session.send('Emulation.setCPUThrottlingRate', { rate: 4 })
    await page.goto(oriel.url + place)
    await page.locator(ready).first().waitFor()
    const ms = await page.evaluate<number>('performance.now()')
    await page.waitForLoadState('networkidle', { timeout: 2000 }).catch(() => {})
    const bytes = (await Promise.all(bodies)).reduce((sum, length) => sum + length, 0)
    const jumps = await page.evaluate<number>(`new Promise((resolve) => {
      new PerformanceObserver((list) => resolve(list.getEntries().reduce((sum, { value }) => sum + value, 0)))
        .observe({ type: 'layout-shift', buffered: true })
      setTimeout(() => resolve(0), 500)
    })`)
    console.info(
      `${place}: ${bodies.length} files, ${(bytes / 1000).toFixed(1)} kB, ready after ${Math.round(ms)} ms, jumps ${jumps.toFixed(3)}`,
    )
    expect(bytes).toBeLessThanOrEqual(150_000)
    expect(bodies.length).toBeLessThanOrEqual(20)
    expect(jumps).toBeLessThan(0.05)
  })
})
