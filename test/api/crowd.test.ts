import { Agent, fetch } from 'undici'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dataUrl, shape } from '../support/images.ts'
import { startServer, type TestServer } from '../support/server.ts'

// On Linux any address of 127/8 can be that of a client.
describe.runIf(process.platform === 'linux')('one client with more than a server can do', () => {
  let server: TestServer
  const over = new AbortController()
  beforeAll(async () => {
    server = await startServer({ engine: { maxQueue: 20 } })
  })
  afterAll(async () => {
    over.abort()
    await server.close()
  })

  const agents = new Map(['127.0.0.1', '127.0.0.2'].map((address) => [address, new Agent({ localAddress: address })]))
  async function ask(address: string, body: object, signal = over.signal) {
    const dispatcher = agents.get(address)
    if (dispatcher === undefined) throw new Error('no such client')
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'pocket', messages: [{ role: 'user', content: 'Hello' }], ...body }),
      signal,
      dispatcher,
    })
    return { status: response.status, body: (await response.json()) as { error?: { code?: string } } }
  }

  it('is refused where it fills the queue, and others are answered while it waits', async () => {
    let ended = 0
    const endless = { n: 32, max_tokens: 3000, ignore_eos: true }
    const attack = Array.from({ length: 40 }, () =>
      ask('127.0.0.2', endless).then(
        (answer) => answer,
        () => undefined,
      ),
    )
    // 20 of them find no place.
    const refused = await Promise.race(attack)
    expect(refused).toMatchObject({ status: 503, body: { error: { code: 'queue_full' } } })
    for (const one of attack) void one.then((answer) => answer?.status === 200 && ended++)
    const url = dataUrl(await shape('red', 'circle', 64))
    const content = [
      { type: 'image_url', image_url: { url } },
      { type: 'text', text: 'What is in this image?' },
    ]
    for (const body of [{ max_tokens: 5 }, { max_tokens: 5, messages: [{ role: 'user', content }] }])
      expect((await ask('127.0.0.1', body)).status).toBe(200)
    expect(ended).toBe(0)
    over.abort()
    await Promise.all(attack)
  })
})
