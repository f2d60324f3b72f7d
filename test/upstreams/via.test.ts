import { afterEach, describe, expect, it } from 'vitest'
import { createOriel, type Oriel } from '../../src/app.ts'
import { postJson } from '../support/http.ts'
import { startUpstream, streaming } from '../support/replying-upstream.ts'

const answer = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: 'Yes' }, finish_reason: 'stop' }] })}\n\ndata: [DONE]\n\n`

describe('a request that is passed on', () => {
  const open: { close(): Promise<unknown> }[] = []
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close()
  })

  const inFrontOf = async (upstream: string): Promise<{ oriel: Oriel; url: string }> => {
    const upstreams = [{ name: 'other', url: upstream, api: 'oriel' as const, models: ['a'] }]
    const oriel = await createOriel({ model: [], upstreams, server: { port: 0 }, logLevel: 'silent' })
    open.push(oriel)
    return { oriel, url: (await oriel.listen()).url }
  }
  const ask = (url: string, headers: Record<string, string> = {}) =>
    postJson(`${url}/v1/chat/completions`, { model: 'a', messages: [{ role: 'user', content: 'Hi' }] }, { headers })

  it('says which servers have passed it on', async () => {
    const upstream = await startUpstream(streaming(answer))
    open.push(upstream)
    const { url } = await inFrontOf(upstream.url)
    const chats = () => upstream.heard.filter(({ path }) => path.includes('chat')).map(({ headers }) => headers.via)
    expect((await ask(url)).status).toBe(200)
    expect(chats()).toEqual(['1.1 oriel'])
    expect((await ask(url, { via: '1.1 caddy, 1.1 oriel' })).status).toBe(200)
    expect(chats().at(-1)).toBe('1.1 oriel, 1.1 oriel')
  })

  it('ends where servers ask each other in a circle', async () => {
    const upstream = await startUpstream()
    open.push(upstream)
    const [first, second] = [await inFrontOf(upstream.url), await inFrontOf(upstream.url)]
    const passed: unknown[] = []
    const replies: string[] = []
    // The upstream passes everything on to the other server, as if it were that server.
    upstream.reply = async (response, { path, body, headers }) => {
      if (!path.includes('chat')) return void response.writeHead(404).end()
      passed.push(headers.via)
      const to = passed.length % 2 === 0 ? first.url : second.url
      const reply = await postJson(`${to}/v1/chat/completions`, body, { headers: { via: String(headers.via) } })
      const text = await reply.text()
      replies.push(text)
      response.writeHead(reply.status, { 'content-type': 'application/json' }).end(text)
    }
    const refused = await ask(first.url)
    expect(refused.status).toBeGreaterThanOrEqual(500)
    expect(passed).toHaveLength(5)
    expect(replies[0]).toContain('upstream_loop')
  })
})
