import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import pino from 'pino'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { createAccounts } from '../../src/accounts/index.ts'
import { loadConfig } from '../../src/load-config.ts'
import { copied, press, remembering, startBrowser, type TestBrowser, tabTo } from '../support/browser.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { patient } from '../support/wait.ts'

describe('The page of keys', () => {
  let folder: string
  let oriel: TestServer
  let browser: TestBrowser
  let admin: string
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'oriel-keys-'))
    oriel = await startServer({ accounts: { dataDir: folder, tiers: { small: { requests: 3 } } } })
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

  const ask = async (key: string): Promise<number> => {
    const response = await fetch(`${oriel.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify({ model: 'pocket', max_tokens: 4, messages: [{ role: 'user', content: 'Hello' }] }),
    })
    await response.text()
    return response.status
  }

  it('shows the command that makes the first key, and takes that key', async () => {
    const page = await browser.open(`${oriel.url}/keys`)
    const command = await copied(page, () => press(page, page.getByRole('button', { name: 'Copy the command' })))
    expect(command).toBe('oriel keys create --admin')
    expect(await page.getByRole('table').count()).toBe(0)

    admin = await adminKey(folder)
    await vi.waitFor(async () => expect(await ask('wrong')).toBe(401), patient)
    const field = page.getByLabel('A key of this server')
    await tabTo(page, field)
    await page.keyboard.type(admin)
    await page.keyboard.press('Enter')
    await page.getByRole('table').first().getByText('operator').waitFor()
  })

  it('says why a key is refused, and takes another', async () => {
    const page = await browser.open(`${oriel.url}/keys`, remembering(oriel.url, 'wrong'))
    await page.getByRole('alert').getByText('key').first().waitFor()
    await page.getByLabel('A key of this server').fill(admin)
    await page.keyboard.press('Enter')
    await page.getByRole('table').first().waitFor()
    expect(browser.complaints().filter((text) => !text.includes('401 (Unauthorized)'))).toEqual([])
  })

  it('refuses the beginning of a key in its field, and one that this browser has kept can be replaced', async () => {
    const page = await browser.open(`${oriel.url}/keys`, remembering(oriel.url, 'ok_1234…'))
    const alert = page.getByRole('alert')
    await alert.getByText('This is only the beginning of a key').waitFor()
    const field = page.getByLabel('A key of this server')
    await field.fill('two words')
    await page.keyboard.press('Enter')
    await alert.getByText('A key has neither spaces nor').waitFor()
    expect(await page.evaluate(`localStorage.getItem('oriel.key')`)).toBe('ok_1234…')
    await field.fill(admin)
    await page.keyboard.press('Enter')
    await page.getByRole('table').first().waitFor()
  })

  it('makes a key whose secret is shown once, rotates, limits and revokes it, by keyboard alone', async () => {
    const page = await browser.open(`${oriel.url}/keys`, remembering(oriel.url, admin))
    await press(page, page.getByRole('button', { name: 'New key' }))
    await tabTo(page, page.getByLabel('Account', { exact: true }))
    await page.keyboard.type('team')
    await tabTo(page, page.getByLabel('Note'))
    await page.keyboard.type('Captions')
    await page.keyboard.press('Enter')
    const secret = await secretOf(page)
    expect(await ask(secret)).toBe(200)
    const row = page.getByRole('row').filter({ hasText: 'Captions' })
    await row.getByText('Works').waitFor()
    expect(await page.content()).not.toContain(secret)

    await press(page, row.getByRole('button', { name: 'Rotate Captions' }))
    await press(page, page.getByRole('button', { name: 'Make a new secret' }))
    const next = await secretOf(page)
    expect(next).not.toBe(secret)
    expect(await ask(secret)).toBe(401)
    expect(await ask(next)).toBe(200)

    await press(page, page.getByRole('button', { name: 'Change team' }))
    await tabTo(page, page.getByLabel('Tier'))
    await page.keyboard.type('small')
    await page.keyboard.press('Enter')
    await page.getByRole('row').filter({ hasText: 'team' }).getByText('small').waitFor()
    const statuses: number[] = []
    for (let times = 0; times < 4; times++) statuses.push(await ask(next))
    expect(statuses.at(-1)).toBe(429)

    await press(page, row.getByRole('button', { name: 'Revoke Captions' }))
    await press(page, page.getByRole('dialog').getByRole('button', { name: 'Revoke' }))
    await row.getByText('Revoked').waitFor()
    expect(await ask(next)).toBe(401)
  })

  it('refuses a tier that the settings do not have, in the dialog', async () => {
    const page = await browser.open(`${oriel.url}/keys`, remembering(oriel.url, admin))
    await page.getByRole('button', { name: 'Change team' }).click()
    await page.getByLabel('Tier').fill('huge')
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').getByRole('alert').getByText('small').waitFor()
    expect(browser.complaints().filter((text) => !text.includes('400 (Bad Request)'))).toEqual([])
  })

  it('shows what a key has spent that stands on a later page of the sums', async () => {
    const page = await browser.open(`${oriel.url}/keys`, remembering(oriel.url, admin))
    const { id } = await page.evaluate<{ id: string }>(`fetch('/admin/keys', {
      headers: { authorization: 'Bearer ${admin}' },
    }).then(async (response) => (await response.json()).data.find(({ account }) => account === 'operator'))`)
    const sums = {
      'first page': { data: [], next_page: 'later ones' },
      'later ones': { data: [{ key: id, cost: 7.25 }], next_page: null },
    }
    await page.route('**/admin/usage?*', (route) => {
      const asked = new URL(route.request().url()).searchParams.get('page') ?? 'first page'
      return route.fulfill({ json: sums[asked as keyof typeof sums] })
    })
    await page.reload()
    await page.getByRole('row').filter({ hasText: 'operator' }).getByText('7.25').waitFor()
  })

  it('offers no key for an adapter, which the server would refuse', async () => {
    const page = await browser.open(`${oriel.url}/keys`, remembering(oriel.url, admin))
    await page.route('**/v1/models', async (route) => {
      const response = await route.fetch()
      const { data } = (await response.json()) as { data: object[] }
      await route.fulfill({ response, json: { data: [...data, { id: 'pocket#butler', parent: 'pocket' }] } })
    })
    await page.getByRole('button', { name: 'New key' }).click()
    await page.getByLabel('pocket', { exact: true }).waitFor()
    expect(await page.getByLabel('pocket#butler').count()).toBe(0)
  })

  it('keeps the key of the browser when nothing is typed in its place', async () => {
    const page = await browser.open(oriel.url, remembering(oriel.url, admin))
    await page.getByRole('button', { name: 'Settings', exact: true }).click()
    await page.getByLabel('A key of this server').fill(' ')
    await page.getByRole('button', { name: 'Use this key' }).click()
    expect(await page.evaluate(`localStorage.getItem('oriel.key')`)).toBe(admin)
  })

  it('forgets with the key all that the server has told it, in every window', async () => {
    const page = await browser.open(`${oriel.url}/activity`, remembering(oriel.url, admin))
    await page.getByText('Live', { exact: true }).waitFor()
    const other = await page.context().newPage()
    await other.goto(`${oriel.url}/keys`)
    await other.getByRole('button', { name: 'Forget it' }).click()
    for (const one of [other, page]) {
      await one.getByRole('alert').getByText('This server needs a key.').waitFor()
      expect(await one.getByRole('table').count()).toBe(0)
    }
    expect(await page.getByRole('region', { name: 'Figures' }).count()).toBe(0)
    expect(browser.complaints().filter((text) => !text.includes('401 (Unauthorized)'))).toEqual([])
    await page.getByLabel('A key of this server').fill(admin)
    await page.keyboard.press('Enter')
    await other.getByRole('table').first().waitFor()
  })

  it('forgets with the key which models there are, and asks for another', async () => {
    const page = await browser.open(oriel.url, remembering(oriel.url, admin))
    await page.getByRole('button', { name: 'Model: Pocket' }).waitFor()
    const other = await page.context().newPage()
    await other.goto(`${oriel.url}/keys`)
    await other.getByRole('button', { name: 'Forget it' }).click()
    await page.getByRole('alert').getByText('This server needs a key.').waitFor()
    await page.getByRole('button', { name: 'Model: pocket' }).click()
    expect(await page.getByRole('menuitemradio').count()).toBe(0)
    await page.getByLabel('A key of this server').fill(admin)
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: 'Model: Pocket' }).waitFor()
    expect(browser.complaints().filter((text) => !text.includes('401 (Unauthorized)'))).toEqual([])
  })

  it('erases an account when its name is typed, and says before what goes with it', async () => {
    const page = await browser.open(`${oriel.url}/keys`, remembering(oriel.url, admin))
    await press(page, page.getByRole('button', { name: 'Erase team' }))
    const dialog = page.getByRole('dialog')
    const erase = dialog.getByRole('button', { name: 'Erase' })
    expect(await erase.isDisabled()).toBe(true)
    await dialog.getByText('Its usage, limits, deployments, datasets and fine-tuning jobs are removed.').waitFor()
    await tabTo(page, dialog.getByLabel('Type the name of the account to erase it'))
    await page.keyboard.type('team')
    await page.keyboard.press('Enter')
    await page.getByRole('row').filter({ hasText: 'team' }).first().waitFor({ state: 'detached' })
  })
})

/** A key that may administer, made by another process in the same folder, as `oriel keys create` does. */
async function adminKey(dataDir: string): Promise<string> {
  const accounts = await createAccounts(loadConfig({ accounts: { dataDir } }, {}), pino({ level: 'silent' }))
  const { secret } = await accounts.keys.create({ account: 'operator', scopes: ['inference', 'usage', 'admin'] })
  await accounts.close()
  return secret
}

/** Copies the secret that a dialog shows, and closes it. */
async function secretOf(page: Page): Promise<string> {
  const secret = await copied(page, () => press(page, page.getByRole('button', { name: 'Copy the key' })))
  await press(page, page.getByRole('button', { name: 'Done' }))
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  return secret
}
