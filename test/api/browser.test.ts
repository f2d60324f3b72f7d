import { hostname } from 'node:os'
import { afterEach, describe, expect, it } from 'vitest'
import type { OrielSettings } from '../../src/app.ts'
import { loadConfig } from '../../src/load-config.ts'
import { plainBackend } from '../support/plain-backend.ts'
import { send } from '../support/raw.ts'
import { serveBackend } from '../support/scripted.ts'

let close = async (): Promise<void> => {}
afterEach(() => close())

async function start(server: OrielSettings['server'] = {}): Promise<string> {
  const started = await serveBackend(plainBackend(), server)
  close = started.close
  return started.url
}

const json = { 'content-type': 'application/json' }
const chat = JSON.stringify({ model: 'plain', messages: [{ role: 'user', content: 'Hi' }] })
const post = (url: string, headers: Record<string, string>) =>
  send(`${url}/v1/chat/completions`, { method: 'POST', headers: { ...json, ...headers }, body: chat })
const preflight = (url: string, path: string, origin: string) =>
  send(`${url}${path}`, {
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type',
    },
  })

describe('the host name of a request', () => {
  it('is one that no stranger can point at this machine', async () => {
    const url = await start()
    const { port } = new URL(url)
    for (const host of [
      'localhost',
      `localhost:${port}`,
      'oriel.localhost',
      '127.0.0.1',
      '127.8.8.8:1',
      `[::1]:${port}`,
      '192.168.1.20:8080',
      '[fe80::1]',
      'oriel',
      'host.docker.internal:8080',
      hostname(),
      `${hostname()}.local`,
    ])
      expect([host, (await post(url, { host })).status]).toEqual([host, 200])
    for (const host of ['attacker.example', 'localhost.attacker.example', '127.0.0.1.attacker.example:80', 'a b']) {
      const { status, text } = await send(`${url}/v1/models`, { headers: { host } })
      expect([host, status]).toEqual([host, 403])
      expect(text).toContain('ORIEL_HOSTNAMES')
    }
  })

  it('is one that a setting names, subdomains included', async () => {
    const url = await start({ hostnames: ['Vision.example.com'] })
    for (const host of ['vision.example.com', 'VISION.example.com.:443', 'eu.vision.example.com'])
      expect([host, (await post(url, { host })).status]).toEqual([host, 200])
    expect((await post(url, { host: 'example.com' })).status).toBe(403)
    await close()
    expect((await post(await start({ hostnames: ['*'] }), { host: 'any.example' })).status).toBe(200)
  })
})

describe('a page of a foreign origin', () => {
  it('makes the server do nothing, whatever kind of request it sends', async () => {
    const url = await start()
    for (const origin of ['https://example.com', 'http://localhost:3000', 'null', 'chrome-extension://abc']) {
      const { status, headers, text } = await post(url, { origin })
      expect([origin, status, headers['access-control-allow-origin']]).toEqual([origin, 403, undefined])
      expect(text).toContain('ORIEL_ORIGINS')
      expect((await preflight(url, '/v1/chat/completions', origin)).status).toBe(403)
      expect((await send(`${url}/v1/models`, { headers: { origin } })).status).toBe(403)
    }
    // Without a preflight, as a form sends it.
    const simple = { method: 'POST', headers: { 'content-type': 'text/plain' }, body: chat }
    expect((await send(`${url}/v1/chat/completions`, simple)).status).toBe(415)
    expect((await post(url, { 'sec-fetch-site': 'cross-site' })).status).toBe(403)
    expect((await send(`${url}/docs`, { headers: { 'sec-fetch-site': 'cross-site' } })).status).toBe(200)
  })

  it('may use the server if a setting names its origin', async () => {
    const url = await start({ origins: ['https://app.example.com'] })
    const origin = 'https://app.example.com'
    const asked = await preflight(url, '/v1/chat/completions', origin)
    expect(asked).toMatchObject({
      status: 204,
      headers: {
        'access-control-allow-origin': origin,
        'access-control-allow-methods': 'POST, OPTIONS',
        'access-control-allow-headers': 'authorization,content-type',
        vary: 'origin',
      },
    })
    expect(await post(url, { origin })).toMatchObject({
      status: 200,
      headers: { 'access-control-allow-origin': origin, 'access-control-expose-headers': '*' },
    })
    expect((await post(url, { origin: 'https://app.example.com.evil.example' })).status).toBe(403)
    await close()
    expect((await post(await start({ origins: ['*'] }), { origin: 'https://any.example' })).status).toBe(200)
  })

  it('never clears the cache, whatever the settings', async () => {
    const url = await start({ origins: ['*'], hostnames: ['*'] })
    const clear = (headers: Record<string, string>) => send(`${url}/admin/cache`, { method: 'DELETE', headers })
    const { host } = new URL(url)
    for (const headers of [{ origin: 'https://any.example' }, { 'sec-fetch-site': 'same-site' }]) {
      const { status, text } = await clear(headers)
      expect(status).toBe(403)
      // No setting would help.
      expect(text).toMatch(/"Pages of .* may not use paths below \/admin\/.*"origin_not_allowed"/)
      expect(text).not.toContain('ORIEL_ORIGINS')
    }
    const escaped = { method: 'DELETE', headers: { origin: 'https://any.example' } }
    expect((await send(`${url}/%61dmin/cache`, escaped)).status).toBe(403)
    expect((await preflight(url, '/admin/cache', 'https://any.example')).status).toBe(403)
    expect((await clear({})).status).toBe(204)
    expect((await clear({ origin: `http://${host}`, 'sec-fetch-site': 'same-origin' })).status).toBe(204)
  })
})

describe('a page of the server itself', () => {
  it('may use it, also behind a proxy that adds TLS', async () => {
    const url = await start({ hostnames: ['vision.example.com'] })
    const { host } = new URL(url)
    expect((await post(url, { origin: `http://${host}` })).status).toBe(200)
    const proxied = { host: 'vision.example.com', origin: 'https://vision.example.com' }
    expect((await post(url, proxied)).status).toBe(200)
    expect((await post(url, { ...proxied, origin: 'https://other.example.com' })).status).toBe(403)
  })
})

it('refuses an origin with a path, and a host name with a scheme', () => {
  expect(() => loadConfig({}, { ORIEL_ORIGINS: 'https://a.example/app' })).toThrow(/without a path/)
  expect(() => loadConfig({}, { ORIEL_HOSTNAMES: 'https://a.example' })).toThrow(/must be like example\.com/)
})
