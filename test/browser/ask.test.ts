import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { AxeBuilder } from '@axe-core/playwright'
import type { Page } from 'playwright-core'
import sharp from 'sharp'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { copied, dropPicture, keptFiles, startBrowser, type TestBrowser } from '../support/browser.ts'
import { pocketFolder } from '../support/pocket.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

const run = promisify(execFile)
const sample = readFileSync('examples/sample.png')
const red = 'A red circle on a white background.'
const square = (colour: string): Promise<Buffer> => {
  const shape = `<rect x="22" y="22" width="52" height="52" fill="${colour}"/>`
  const drawing = `<svg width="96" height="96"><rect width="96" height="96" fill="white"/>${shape}</svg>`
  return sharp(Buffer.from(drawing)).png().toBuffer()
}
const blueSquare = await square('blue')

describe('The page that asks', () => {
  let oriel: TestServer
  let browser: TestBrowser
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'oriel-'))
    for (const name of ['', 'mmproj-']) {
      await mkdir(path.join(folder, 'second'), { recursive: true })
      await copyFile(`${pocketFolder}${name}pocket.gguf`, path.join(folder, 'second', `${name}second.gguf`))
    }
    oriel = await startServer({ models: { dirs: [folder] } })
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

  it('answers about a picture that is dropped anywhere, and remembers the conversation', async () => {
    const page = await browser.open(oriel.url)
    await drop(page, 'sample.png', sample)
    await page.getByRole('button', { name: 'sample.png: options' }).waitFor()
    await ask(page, 'What is in this image?')
    await answer(page, red)
    await ask(page, 'What color is the circle?')
    await answer(page, /red/, 1)

    await page.reload()
    await answer(page, red)
    expect(await page.getByRole('article').count()).toBe(2)
    expect(await page.getByAltText('sample.png').isVisible()).toBe(true)
  })

  it('says why an answer is not whole, also when the page is opened again', async () => {
    const page = await browser.open(oriel.url)
    for (const [reason, words] of [
      ['length', 'The answer ended at the limit of tokens.'],
      ['content_filter', "The model's server ended the answer because of what is in it."],
    ] as const) {
      await page.route('**/v1/chat/completions', async (route) => {
        const response = await route.fetch()
        const body = (await response.text()).replace('"finish_reason":"stop"', `"finish_reason":"${reason}"`)
        await route.fulfill({ response, body })
      })
      await ask(page, 'Hello')
      await page.getByText(words).waitFor()
      await page.unroute('**/v1/chat/completions')
    }
    await page.reload()
    await page.getByText("The model's server ended the answer").waitFor()
    if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/not-whole.png` })
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

  it('says below a picture, one line under the other, what was sent and what the model saw', async () => {
    const page = await browser.open(oriel.url)
    await page.getByRole('button', { name: 'What is in this image?' }).click()
    await page.getByText('seen as 128 × 128').waitFor()
    const lines = ['96 × 96 · 732 B', 'seen as 128 × 128', 'What the model saw'].map((line) => page.getByText(line))
    const boxes = await Promise.all(lines.map((line) => line.boundingBox()))
    const [sent, seen, button] = boxes.map((box) => ({ top: box?.y ?? 0, end: (box?.x ?? 0) + (box?.width ?? 0) }))
    expect(seen?.top).toBeGreaterThan(sent?.top ?? 0)
    expect(button?.top).toBeGreaterThan(seen?.top ?? 0)
    expect([seen?.end, button?.end]).toEqual([sent?.end, sent?.end])
  })

  it('writes the request as a curl that runs as pasted, with the picture in it or in a file', async () => {
    const page = await browser.open(oriel.url)
    await drop(page, `it's $HOME.png`, sample)
    await ask(page, 'What is in "this" $image? `ls` \\')
    await page.getByRole('button', { name: 'Copy the answer' }).waitFor()
    await page.getByRole('button', { name: 'View code' }).click()
    const pasted = async () => {
      const code = await copied(page, () => page.getByRole('button', { name: 'Copy the code' }).click())
      const { stdout } = await run('bash', ['-c', code], { cwd: folder })
      return JSON.parse(stdout).usage.prompt_tokens
    }
    const inlined = await pasted()
    await writeFile(path.join(folder, `it's $HOME.png`), sample)
    await page.getByLabel('Read the pictures from files').check()
    await page.locator('pre', { hasText: 'base64 <' }).waitFor()
    expect(await pasted()).toBe(inlined)
    expect(await page.locator('.timing').textContent()).toContain(`${inlined} + `)
  })

  it('writes the request for the client of JavaScript', async () => {
    const page = await browser.open(oriel.url)
    await page.getByRole('button', { name: 'What is in this image?' }).click()
    await answer(page, red)
    await page.getByRole('button', { name: 'View code' }).click()
    await page.getByLabel('JavaScript').check()
    await page.locator('pre', { hasText: 'new OpenAI' }).waitFor()
    const code = await copied(page, () => page.getByRole('button', { name: 'Copy the code' }).click())
    const { stdout } = await run('node', ['--input-type=module', '-e', code])
    expect(stdout.trim()).toBe(red)
  })

  it('replaces a picture of an earlier question, and keeps what was there', async () => {
    const page = await browser.open(oriel.url)
    await page.getByRole('button', { name: 'What is in this image?' }).click()
    await answer(page, red)
    await ask(page, 'What color is the circle?')
    await answer(page, /red/, 1)
    await page.getByRole('button', { name: 'sample.png: options' }).click()
    const choosing = page.waitForEvent('filechooser')
    await page.getByRole('menuitem', { name: 'Replace and ask again' }).click()
    await (await choosing).setFiles({ name: 'blue.png', mimeType: 'image/png', buffer: blueSquare })
    await answer(page, /blue square/)
    expect(await page.getByRole('article').count()).toBe(1)
    await page.getByRole('button', { name: 'Earlier of the questions' }).click()
    await answer(page, red)
    expect(await page.getByRole('article').count()).toBe(2)
  })

  it('asks two models side by side, each with its own answers', async () => {
    const page = await browser.open(oriel.url)
    await page.getByRole('button', { name: 'Ask a second model' }).click()
    await page.getByRole('button', { name: 'Model 2: ' }).click()
    await page.getByRole('menuitemradio', { name: 'second' }).click()
    await page.getByRole('button', { name: 'What is in this image?' }).click()
    await page.getByRole('region', { name: 'Answer of Pocket' }).getByText(red).waitFor()
    await page.getByRole('region', { name: 'Answer of second' }).getByText(red).waitFor()
  })

  it('shows what the model saw, and what became of the picture', async () => {
    const page = await browser.open(oriel.url)
    await drop(page, 'green.png', await square('green'))
    await ask(page, 'What is in this image?')
    await answer(page, /green square/)
    await page.getByText(/^96 × 96 · \d+ B$/).waitFor()
    await page.getByText(/^seen as 128 × 128 · 72 tokens · encoded in \d+ ms$/).waitFor()
    await page.getByRole('button', { name: 'What the model saw' }).click()
    const seen = page.getByRole('dialog', { name: 'What the model saw' })
    await seen.getByAltText('The whole picture').waitFor()
    expect(await seen.textContent()).toContain('seen as 128 × 128 · 72 tokens')
  })

  it('sends the pages of a document that a person chooses', async () => {
    const page = await browser.open(oriel.url)
    await drop(page, 'sample.pdf', readFileSync('examples/sample.pdf'))
    await page.getByRole('button', { name: 'sample.pdf: options' }).click()
    await page.getByRole('menuitem', { name: 'Choose pages' }).click()
    const page2 = page.getByRole('button', { name: 'Page 2' }).locator('img')
    const looks = [await page.getByRole('button', { name: 'Page 1' }).locator('img').getAttribute('src')]
    expect(looks).not.toContain(await page2.getAttribute('src'))
    await page.getByRole('button', { name: 'Page 1' }).click()
    await page.getByRole('button', { name: 'Use these' }).click()
    await ask(page, 'What is in this image?')
    await answer(page, 'A blue square on a white background.')
    await page.getByText(/^seen as \d+ × \d+ · 110 tokens · encoded/).waitFor()
    await page.reload()
    const shown = page.getByRole('img', { name: 'sample.pdf' }).and(page.locator('img'))
    expect(looks).not.toContain(await shown.getAttribute('src'))
  })

  it('is used by keyboard alone', async () => {
    const page = await browser.open(oriel.url)
    const focused = () =>
      page.evaluate<string>(`document.activeElement?.ariaLabel ?? document.activeElement?.textContent ?? ''`)
    const tabTo = async (name: string) => {
      for (let steps = 0; steps < 80; steps++) {
        if ((await focused()).startsWith(name)) return
        await page.keyboard.press('Tab')
      }
      throw new Error(`The tab key does not lead to ${name}.`)
    }
    const openWith = async (name: string, key = 'Enter') => {
      await tabTo(name)
      await page.keyboard.press(key)
    }
    await page.getByRole('button', { name: 'Take the sample picture' }).waitFor()
    await openWith('Take the sample picture')
    await page.getByRole('button', { name: 'sample.png: options' }).waitFor()
    await tabTo('Question')
    await page.keyboard.type('What is in this image?')
    await page.keyboard.press('Enter')
    await answer(page, red)

    await openWith('What the model saw')
    await page.getByRole('dialog').getByAltText('The whole picture').waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    expect(await focused()).toBe('What the model saw')

    await openWith('Retry')
    await page.getByText('2 / 2').waitFor()
    await openWith('Edit the question')
    await tabTo('Another wording of the question')
    await page.keyboard.press('Control+A')
    await page.keyboard.type('What color is the circle?')
    await page.keyboard.press('Enter')
    await answer(page, /red/)

    await openWith('Model: pocket')
    await page.getByRole('menu').waitFor()
    for (let steps = 0; steps < 5 && !(await focused()).startsWith('second'); steps++)
      await page.keyboard.press('ArrowDown')
    await page.keyboard.press('Enter')
    expect(await focused()).toMatch(/^Model: second/)
    await openWith('View code')
    await page.getByRole('button', { name: 'Copy the code', disabled: false }).waitFor()
    expect(await copied(page, () => openWith('Copy the code'))).toContain('"model": "second"')
  })

  it('sorts pictures with the arrow keys, and tells so', async () => {
    const page = await browser.open(oriel.url)
    await drop(page, 'one.png', sample)
    await drop(page, 'two.png', blueSquare)
    await page.getByRole('button', { name: 'two.png, 2 of 2' }).focus()
    await page.keyboard.press('ArrowLeft')
    await page.getByRole('button', { name: 'two.png, 1 of 2' }).waitFor()
    expect(await page.getByRole('status').textContent()).toBe('Picture 1 of 2.')
    await ask(page, 'Compare the two images.')
    await answer(page, /blue square and the second image shows a red circle/)
  })

  it('exports a conversation to a file, and imports it with its pictures', async () => {
    const page = await browser.open(oriel.url)
    await page.getByRole('button', { name: 'What is in this image?' }).click()
    await answer(page, red)
    await page.getByRole('button', { name: 'What is in this image?: options' }).click()
    const downloading = page.waitForEvent('download')
    await page.getByRole('menuitem', { name: 'Export to a file' }).click()
    const file = path.join(folder, 'exported.json')
    await (await downloading).saveAs(file)

    const other = await browser.open(oriel.url)
    await other.getByLabel('Import from a file').setInputFiles(file)
    await other.getByRole('button', { name: 'What is in this image?', exact: true }).first().click()
    await answer(other, red)
    await other.getByAltText('sample.png').waitFor()
    // One that was exported while its answer arrived can be gone on with.
    const half = path.join(folder, 'half.json')
    writeFileSync(half, readFileSync(file, 'utf8').replaceAll('"state":"done"', '"state":"streaming"'))
    const third = await browser.open(oriel.url)
    await third.getByLabel('Import from a file').setInputFiles(half)
    await third.getByRole('button', { name: 'What is in this image?', exact: true }).first().click()
    await third.getByRole('button', { name: 'Send' }).waitFor()
    await other.getByLabel('Import from a file').setInputFiles('examples/sample.png')
    await other.getByRole('alert').getByText('This is not a file of conversations').waitFor()
  })

  it('takes the next message for the result of a call', async () => {
    const page = await browser.open(oriel.url)
    const asked: { messages: object[] }[] = []
    const call = {
      index: 0,
      id: 'call_1',
      type: 'function',
      function: { name: 'weather', arguments: '{"place":"Oslo"}' },
    }
    await page.route('**/v1/chat/completions', (route) => {
      asked.push(route.request().postDataJSON())
      const delta = asked.length === 1 ? { tool_calls: [call] } : { content: 'It rains.' }
      const events = [
        { choices: [{ delta, finish_reason: null }] },
        { choices: [{ delta: {}, finish_reason: 'stop' }] },
      ]
      const body = events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')
      return route.fulfill({ contentType: 'text/event-stream', body })
    })
    await page.getByRole('button', { name: 'Settings', exact: true }).click()
    await page.getByLabel('Tools').fill('[{"type": "function", "function": {"name": "weather"}}]')
    await ask(page, 'Do I need an umbrella?')
    await page.locator('.call', { hasText: 'Oslo' }).waitFor()
    await page.getByPlaceholder('The result of the call').waitFor()
    await ask(page, 'rain')
    await answer(page, 'It rains.', 1)
    expect(asked[1]?.messages).toEqual([
      { role: 'user', content: 'Do I need an umbrella?' },
      {
        ...{ role: 'assistant', content: '' },
        tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"place":"Oslo"}' } }],
      },
      { role: 'tool', tool_call_id: 'call_1', content: 'rain' },
    ])
  })

  it('asks the model that a link names, in a new conversation', async () => {
    const page = await browser.open(oriel.url)
    await page.getByRole('button', { name: 'What is in this image?' }).click()
    await answer(page, red)
    await page.goto(`${oriel.url}/library`)
    await page.getByRole('article').filter({ hasText: 'second' }).getByRole('link', { name: 'Ask it' }).click()
    await page.getByRole('button', { name: 'Model: second' }).waitFor()
    expect(await page.getByRole('article').count()).toBe(0)
    expect(new URL(page.url()).search).toBe('')
  })

  it('shows in one window what is asked in another, and loses no question of either', async () => {
    const page = await browser.open(oriel.url)
    await page.getByRole('button', { name: 'What is in this image?' }).click()
    await answer(page, red)
    const other = await page.context().newPage()
    await other.goto(oriel.url)
    await answer(other, red)
    await ask(other, 'What color is the circle?')
    await answer(page, /red/, 1)
    await ask(page, 'Where is the circle?')
    await answer(other, /./, 2)
    await page.reload()
    await answer(page, /./, 2)

    const list = other.getByRole('navigation', { name: 'Conversations' })
    await list.getByRole('button', { name: 'What is in this image?: options' }).click()
    await other.getByRole('menuitem', { name: 'Delete' }).click()
    await other.getByRole('button', { name: 'Delete', exact: true }).click()
    await page.getByRole('heading', { name: 'Show it a picture' }).waitFor()
    await vi.waitFor(async () => expect(await page.evaluate(keptFiles)).toBe(0), patient)
  })

  it('works where a browser keeps nothing, and says so', async () => {
    const page = await browser.empty(oriel.url)
    await page.addInitScript(`
      Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError') } })
      IDBFactory.prototype.open = () => { throw new DOMException('no', 'SecurityError') }`)
    await page.goto(oriel.url)
    await drop(page, 'sample.png', sample)
    await ask(page, 'What is in this image?')
    await answer(page, red)
    await page.getByText('This browser does not keep conversations now').waitFor()
    await page.getByRole('link', { name: 'API' }).click()
    await page.getByRole('link', { name: 'Ask', exact: true }).click()
    await answer(page, red)
  })

  it('shows what a model writes, and runs and loads none of it', async () => {
    const page = await browser.open(oriel.url)
    const written = [
      '# Title <img src=x onerror=alert(1)> <script>alert(1)</script>',
      '[a](javascript:alert(1)) ![b](https://example.com/b.png) <a href="javascript:alert(1)">c</a>',
      '- [x] done\n- [ ] open',
      '```html" onclick="alert(1)\n<b>code</b>\n```',
      '| a | b |\n|---|---|\n| 1 | `<i>` |',
      '\u0645\u0631\u062d\u0628\u0627',
    ].join('\n\n')
    const answers = [written, `${'> '.repeat(5000)}deep`]
    await page.route('**/v1/chat/completions', (route) => {
      const choices = [{ delta: { content: answers.shift() }, finish_reason: 'stop' }]
      return route.fulfill({ contentType: 'text/event-stream', body: `data: ${JSON.stringify({ choices })}\n\n` })
    })
    await page.getByRole('button', { name: 'What is in this image?' }).click()
    const prose = page.locator('.prose')
    await prose.getByText('<script>alert(1)</script>').waitFor()
    expect(await prose.locator('img, script, input, [onclick], [href^=javascript]').count()).toBe(0)
    expect(await prose.getByRole('link', { name: 'b', exact: true }).getAttribute('href')).toBe(
      'https://example.com/b.png',
    )
    expect(await page.evaluate(`getComputedStyle(document.querySelector('.prose .block:last-child')).direction`)).toBe(
      'rtl',
    )
    expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([])
    await ask(page, 'And now?')
    await answer(page, /> deep$/, 1)
  })

  it('opens menus within the window, and goes through what can be chosen by keyboard', async () => {
    const page = await browser.open(oriel.url)
    await page.getByRole('button', { name: 'Take the sample picture' }).click()
    await page.getByRole('button', { name: 'sample.png: options' }).press('Enter')
    const focused = () => page.evaluate<string>('document.activeElement.textContent')
    const chosen = [await focused()]
    for (let steps = 0; steps < 3; steps++) {
      await page.keyboard.press('ArrowDown')
      chosen.push(await focused())
    }
    expect(chosen).toEqual(['What the model sees', 'Replace…', 'Remove', 'What the model sees'])
    await page.keyboard.press('Escape')
    await ask(page, 'What is in this image?')
    await answer(page, red)
    await page.getByRole('button', { name: 'sample.png: options' }).click()
    const { x = 0, width = 0 } = (await page.getByRole('menu').boundingBox()) ?? {}
    expect(x + width).toBeLessThanOrEqual(1280)
    const beside = `(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.querySelector('.thread'))`
    expect(await page.evaluate(beside)).toBe(0)
  })

  it('refuses files that cannot be read, and a file of conversations that leads in a circle does no harm', async () => {
    const page = await browser.open(oriel.url)
    await dropPicture(page, 'nothing.png', Buffer.alloc(0))
    await page.getByRole('alert').getByText('nothing.png is empty.').waitFor()
    await dropPicture(page, 'notes.txt', Buffer.from('notes'), 'text/plain')
    await page.getByRole('alert').getByText('notes.txt is not a picture').waitFor()
    const turn = { id: 't', after: '', question: { text: 'Around', pictures: [] }, columns: [] }
    const settings = { system: '', detail: 'auto', schema: '', tools: '', parameters: {} }
    const circle = { id: 'c', title: 'Circle', changedAt: 0, models: [], settings, turns: [turn], picked: {} }
    const file = JSON.stringify({ oriel: 'conversations', conversations: [circle], files: {} })
    const buffer = Buffer.from(file)
    await page.getByLabel('Import from a file').setInputFiles({ name: 'c.json', mimeType: 'application/json', buffer })
    await page.getByRole('button', { name: 'Circle', exact: true }).click()
    await page.getByRole('article').getByText('Around').waitFor()
  })

  it('finds, renames and deletes conversations', async () => {
    const page = await browser.open(oriel.url)
    for (const question of ['What is in this image?', 'Where is the circle?']) {
      await page.getByRole('button', { name: 'New' }).click()
      await page.getByRole('button', { name: question }).last().click()
      await page.getByRole('button', { name: 'Copy the answer' }).waitFor()
    }
    const list = page.getByRole('navigation', { name: 'Conversations' })
    await list.getByRole('searchbox').fill('white background')
    await list.getByRole('button', { name: 'Where is the circle?', exact: true }).waitFor({ state: 'detached' })
    await list.getByRole('button', { name: 'What is in this image?: options' }).click()
    await page.getByRole('menuitem', { name: 'Rename' }).click()
    await page.getByLabel('Name of the conversation').fill('Cir')
    await page.keyboard.press('End')
    await page.keyboard.type('cles')
    await page.keyboard.press('Enter')
    await list.getByRole('button', { name: 'Circles: options' }).click()
    await page.getByRole('menuitem', { name: 'Delete' }).click()
    await page.getByRole('button', { name: 'Delete', exact: true }).click()
    await list.getByText('Nothing is found.').waitFor()
    await page.reload()
    await list.getByRole('button', { name: 'Where is the circle?', exact: true }).waitFor()
    expect(await list.locator('.entry').count()).toBe(1)
  })

  it.each([
    ['light', { width: 1280, height: 800 }],
    ['dark', { width: 1280, height: 800 }],
    ['light', { width: 390, height: 844 }],
  ] as const)('gives axe nothing to find, in its %s colours, in a window of %o', async (colorScheme, viewport) => {
    const page = await browser.open(oriel.url, { colorScheme, viewport })
    const found = async () =>
      (await new AxeBuilder({ page }).analyze()).violations.map(({ id, nodes }) => [id, nodes[0]?.html])
    await page.getByRole('button', { name: 'Take the sample picture' }).waitFor()
    expect(await found()).toEqual([])
    await page.getByRole('button', { name: 'What is in this image?' }).click()
    await page.getByRole('button', { name: 'Copy the answer' }).waitFor()
    expect(await found()).toEqual([])
    await page.getByRole('button', { name: 'What the model saw' }).click()
    await page.getByAltText('The whole picture').waitFor()
    expect(await found()).toEqual([])
    await page.keyboard.press('Escape')
    await page.getByRole('button', { name: 'Settings', exact: true }).click()
    expect(await found()).toEqual([])
  })

  it('prepares a question as a recipe has it', async () => {
    const page = await browser.open(oriel.url)
    await page.getByRole('button', { name: 'Caption a folder' }).click()
    await page.getByRole('button', { name: 'Remove chart.png' }).waitFor()
    expect(await page.getByRole('button', { name: 'Remove' }).count()).toBe(1)
    await page.getByRole('button', { name: 'New' }).click()
    expect(await page.getByLabel('Question', { exact: true }).inputValue()).toBe('')
    await page.getByRole('button', { name: 'Charts to data' }).click()
    await page.getByRole('button', { name: 'chart.png: options' }).waitFor()
    await page.getByRole('button', { name: 'Settings', exact: true }).click()
    expect(await page.getByLabel('JSON Schema of the answer').inputValue()).toContain('"estimated"')
    await page.getByLabel('JSON Schema of the answer').fill('{"type": ')
    await page.getByText('This is not JSON').first().waitFor()
    expect(await page.getByRole('button', { name: 'Send' }).isDisabled()).toBe(true)
  })
})

/** Adds it to the question. */
async function drop(page: Page, name: string, bytes: Buffer): Promise<void> {
  await dropPicture(page, name, bytes, name.endsWith('.pdf') ? 'application/pdf' : 'image/png')
  await page.getByRole('button', { name: `Remove ${name}` }).waitFor()
}

async function ask(page: Page, question: string): Promise<void> {
  await page.getByLabel('Question', { exact: true }).fill(question)
  // The models may not be listed yet.
  await page.getByRole('button', { name: 'Send' }).click({ trial: true })
  await page.keyboard.press('Enter')
}

/** Waits for it. @param index of the answers that are shown, from the top */
async function answer(page: Page, text: string | RegExp, index = 0): Promise<void> {
  await page.getByRole('region', { name: 'Answer of' }).nth(index).locator('.prose').getByText(text).waitFor()
}
