import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { shortRun } from '../support/long.ts'
import { startServer, type TestServer } from '../support/server.ts'

let oriel: TestServer
beforeAll(async () => {
  oriel = await startServer()
})
afterAll(() => oriel.close())

const ask = async (path: string) => {
  const response = await fetch(oriel.url + path, { signal: AbortSignal.timeout(8000) })
  return { status: response.status, body: await response.json() }
}
const signal = (name: NodeJS.Signals): void => {
  for (const pid of oriel.engines()) process.kill(pid, name)
}
/** The health of the engine, as soon as it is this. */
const becomes = (status: string) =>
  vi.waitFor(async () => expect(await ask('/health')).toMatchObject({ body: { engines: [{ status }] } }), 60_000)

const ready = { status: 200, body: { status: 'ready' } }
const notReady = (reason: string) => ({ status: 503, body: { status: 'unavailable', reason } })

describe('GET /health and GET /ready', () => {
  it('say that the server lives and can answer', async () => {
    expect(await ask('/ready')).toEqual(ready)
    expect(await ask('/health')).toMatchObject({
      status: 200,
      body: {
        status: 'ok',
        engines: [{ model: 'pocket', status: 'ok', running: 0, waiting: 0, seconds_ago: 0 }],
        memory: { budget_bytes: expect.any(Number), taken_bytes: expect.any(Number) },
      },
    })
  })

  it.skipIf(shortRun)('answer while the engine is stopped: alive, and not ready', async () => {
    signal('SIGSTOP')
    try {
      // Ready for some seconds more: it may be busy.
      await vi.waitFor(
        async () => expect(await ask('/ready')).toEqual(notReady('The engine of pocket does not answer.')),
        60_000,
      )
      const began = performance.now()
      expect(await ask('/health')).toMatchObject({
        status: 200,
        body: { engines: [{ status: 'not_answering', running: 0 }] },
      })
      expect(performance.now() - began).toBeLessThan(1500)
      expect((await fetch(`${oriel.url}/metrics`, { signal: AbortSignal.timeout(8000) })).status).toBe(200)
    } finally {
      signal('SIGCONT')
    }
    await vi.waitFor(async () => expect(await ask('/ready')).toEqual(ready), 60_000)
  })

  it('answer while the engine restarts: alive, and not ready until it is back', async () => {
    oriel.kill()
    await becomes('restarting')
    expect(await ask('/ready')).toEqual(notReady('The engine of pocket is restarting.'))
    await becomes('ok')
    expect(await ask('/ready')).toEqual(ready)
  })

  it('are ready with a model that is not loaded', async () => {
    const idle = await startServer({ model: [] })
    expect(idle.engines()).toHaveLength(0)
    const response = await fetch(`${idle.url}/ready`)
    expect([response.status, await response.json()]).toEqual([200, { status: 'ready' }])
    await idle.close()
  })
})
