import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'

const args = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
  ...['--disable-background-networking', '--disable-component-update'],
]

export interface TestBrowser {
  /** A page of a fresh profile. */
  open(url: string, options?: BrowserContextOptions): Promise<Page>
  /** What went wrong on the pages since the last call: console errors, violations of the policy, requests to elsewhere. */
  complaints(): string[]
  close(): Promise<void>
}

/** Debian's Chromium, or the one of `CHROMIUM`. */
export async function startBrowser(): Promise<TestBrowser> {
  const browser: Browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args,
  })
  let complaints: string[] = []
  return {
    async open(url, options = {}) {
      const context = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'], ...options })
      const page = await context.newPage()
      page.on('pageerror', ({ message }) => complaints.push(message))
      page.on('console', (message) => {
        if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
      })
      page.on('request', (request) => {
        const to = new URL(request.url())
        if (!['blob:', 'data:'].includes(to.protocol) && to.origin !== new URL(url).origin)
          complaints.push(`A request to ${to.origin}`)
      })
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
