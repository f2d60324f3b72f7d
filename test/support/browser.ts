import { type Browser, type BrowserContextOptions, chromium, type Locator, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, vi } from 'vitest'
import { startServer, type TestServer } from './server.ts'
import { patient } from './wait.ts'

const args = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
  ...['--disable-background-networking', '--disable-component-update'],
]

export interface TestBrowser {
  /** A page of a fresh profile. */
  open(url: string, options?: BrowserContextOptions): Promise<Page>
  /** An empty one, for pages of this origin. */
  empty(origin: string, options?: BrowserContextOptions): Promise<Page>
  /** What went wrong on the pages since the last call: console errors, violations of the policy, requests to elsewhere. */
  complaints(): string[]
  close(): Promise<void>
}

/** A server and a browser for the tests of a `describe`, from its beginning to its end. After each test the pages must have nothing to complain of. */
export function withBrowser(): { oriel: TestServer; browser: TestBrowser } {
  const both = {} as { oriel: TestServer; browser: TestBrowser }
  beforeAll(async () => {
    both.oriel = await startServer()
    both.browser = await startBrowser()
  })
  afterAll(async () => {
    await both.browser?.close()
    await both.oriel?.close()
  })
  afterEach(() => {
    expect(both.browser.complaints()).toEqual([])
  })
  return both
}

/** Debian's Chromium, or the one of `CHROMIUM`. */
export async function startBrowser(): Promise<TestBrowser> {
  const browser: Browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args,
  })
  let complaints: string[] = []
  const empty = async (origin: string, options: BrowserContextOptions = {}): Promise<Page> => {
    const context = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'], ...options })
    const page = await context.newPage()
    page.on('pageerror', ({ message }) => complaints.push(message))
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
    })
    page.on('request', (request) => {
      const to = new URL(request.url())
      if (!['blob:', 'data:'].includes(to.protocol) && to.origin !== origin)
        complaints.push(`A request to ${to.origin}`)
    })
    return page
  }
  return {
    empty,
    async open(url, options) {
      const page = await empty(new URL(url).origin, options)
      await page.goto(url)
      return page
    },
    complaints() {
      const made = complaints
      complaints = []
      return made
    },
    close: () => browser.close(),
  }
}

/** A phone, a tablet, and a window on a desk. */
export const sizes = {
  phone: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true },
  tablet: { viewport: { width: 820, height: 1180 }, hasTouch: true },
  desk: { viewport: { width: 1280, height: 800 } },
} satisfies Record<string, BrowserContextOptions>

/** What a browser that has this key for the pages of the server remembers. */
export const remembering = (origin: string, key: string): BrowserContextOptions => ({
  storageState: { cookies: [], origins: [{ origin, localStorage: [{ name: 'oriel.key', value: key }] }] },
})

/** Goes to it with the Tab key, as somebody without a mouse does. */
export async function tabTo(page: Page, target: Locator): Promise<void> {
  await target.waitFor()
  for (let tabs = 0; tabs < 200; tabs++) {
    if ((await target.and(page.locator(':focus')).count()) === 1) return
    await page.keyboard.press('Tab')
  }
  throw new Error(`The Tab key does not lead to ${target}.`)
}

/** Goes to it with the Tab key, and presses it. */
export async function press(page: Page, target: Locator): Promise<void> {
  await tabTo(page, target)
  await page.keyboard.press('Enter')
}

/** What the page puts on the clipboard when somebody does this: it is there a moment later, since writing takes its time. */
export async function copied(page: Page, act: () => Promise<void>): Promise<string> {
  await page.evaluate(`navigator.clipboard.writeText('')`)
  await act()
  return vi.waitFor(async () => {
    const text = await page.evaluate<string>('navigator.clipboard.readText()')
    if (text === '') throw new Error('Nothing was copied.')
    return text
  }, patient)
}

/** How many files of pictures the browser keeps. */
export const keptFiles = `new Promise((resolve) => {
  indexedDB.open('oriel').onsuccess = ({ target }) => {
    target.result.transaction('files').objectStore('files').count().onsuccess = (it) => resolve(it.target.result)
  }
})`

/** Drops a picture anywhere on the page. */
export async function dropPicture(page: Page, name: string, bytes: Buffer, type = 'image/png'): Promise<void> {
  // Tests are checked without the types of a browser.
  const dataTransfer = await page.evaluateHandle(`(() => {
    const transfer = new DataTransfer()
    const bytes = Uint8Array.from(atob('${bytes.toString('base64')}'), (character) => character.charCodeAt(0))
    transfer.items.add(new File([bytes], ${JSON.stringify(name)}, { type: '${type}' }))
    return transfer
  })()`)
  await page.dispatchEvent('main', 'dragover', { dataTransfer })
  await page.dispatchEvent('main', 'drop', { dataTransfer })
}
