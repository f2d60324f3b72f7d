import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startBrowser, type TestBrowser } from '../support/browser.ts'
import { startServer, type TestServer } from '../support/server.ts'

const run = promisify(execFile)
const sample = readFileSync('examples/sample.png')
const red = 'A red circle on a white background.'

describe('The page that asks', () => {
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

  it('answers about a picture that is dropped anywhere, and remembers the conversation', async () => {
    const page = await browser.open(oriel.url)
    await drop(page, 'sample.png', sample)
    await page.getByRole('button', { name: 'sample.png: options' }).waitFor()
    await ask(page, 'What is in this image?')
    await answer(page, red)
    await ask(page, 'What color is it?')
    await answer(page, /red/, 1)

    await page.reload()
    await answer(page, red)
    expect(await page.getByRole('article').count()).toBe(2)
    expect(await page.getByAltText('sample.png').isVisible()).toBe(true)
  })

  it('shows an answer while it arrives, and stops it', async () => {
    const page = await browser.open(oriel.url)
    // The server's stream, held back before its end.
    await page.evaluate(() => {
      const real = globalThis.fetch
      globalThis.fetch = async (input, init) => {
        const response = await real(input, init)
        if (!String(input).endsWith('/chat/completions') || response.body === null) return response
        const slow = new TransformStream<Uint8Array, Uint8Array>({
          async transform(chunk, controller) {
            for (const event of new TextDecoder().decode(chunk).split(/(?<=\n\n)/)) {
              if (event.includes('"finish_reason":"'))
                await new Promise((_, reject) => init?.signal?.addEventListener('abort', reject))
              controller.enqueue(new TextEncoder().encode(event))
            }
          },
        })
        return new Response(response.body.pipeThrough(slow), response)
      }
    })
    await page.getByRole('button', { name: 'What is in this image?' }).click()
    await answer(page, /^A red/)
    expect(await page.getByRole('region', { name: 'Answer of Pocket' }).getAttribute('aria-busy')).toBe('true')
    await page.getByRole('button', { name: 'Stop' }).click()
    await page.locator('.answer').getByText('Stopped.').waitFor()
  })

  it('writes the request as a curl that runs as pasted, with the picture in it or in a file', async () => {
    const page = await browser.open(oriel.url)
    await drop(page, `it's $HOME.png`, sample)
    await ask(page, 'What is in "this" $image? `ls` \\')
    await page.getByRole('button', { name: 'Copy the answer' }).waitFor()
    await page.getByRole('button', { name: 'View code' }).click()
    const folder = await mkdtemp(path.join(tmpdir(), 'oriel-'))
    const pasted = async () => {
      await page.getByRole('button', { name: 'Copy the code' }).click()
      const code = await page.evaluate<string>('navigator.clipboard.readText()')
      const { stdout } = await run('bash', ['-c', code], { cwd: folder })
      return JSON.parse(stdout).usage.prompt_tokens
    }
    const inlined = await pasted()
    await writeFile(path.join(folder, `it's $HOME.png`), sample)
    await page.getByLabel('Read the pictures from files').check()
    await page.locator('pre', { hasText: 'base64 <' }).waitFor()
    expect(await pasted()).toBe(inlined)
    expect(await page.locator('.timing').textContent()).toContain(`${inlined} + `)
    await rm(folder, { recursive: true })
  })
})

async function drop(page: Page, name: string, bytes: Buffer): Promise<void> {
  const type = name.endsWith('.pdf') ? 'application/pdf' : 'image/png'
  // Tests are checked without the types of a browser.
  const dataTransfer = await page.evaluateHandle(`(() => {
    const transfer = new DataTransfer()
    const bytes = Uint8Array.from(atob('${bytes.toString('base64')}'), (character) => character.charCodeAt(0))
    transfer.items.add(new File([bytes], ${JSON.stringify(name)}, { type: '${type}' }))
    return transfer
  })()`)
  await page.dispatchEvent('main', 'dragover', { dataTransfer })
  await page.dispatchEvent('main', 'drop', { dataTransfer })
  await page.getByRole('list', { name: 'Pictures of the question' }).waitFor()
}

async function ask(page: Page, question: string): Promise<void> {
  await page.getByLabel('Question', { exact: true }).fill(question)
  await page.keyboard.press('Enter')
}

/** Waits for it. @param index of the answers that are shown, from the top */
async function answer(page: Page, text: string | RegExp, index = 0): Promise<void> {
  await page.getByRole('region', { name: 'Answer of' }).nth(index).locator('.prose').getByText(text).waitFor()
}
