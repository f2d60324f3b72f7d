import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { deferred } from '../../src/deferred.ts'
import { AttemptFailed } from '../../src/upstreams/attempt-failed.ts'
import { jsonBody } from '../../src/upstreams/body.ts'
import { connect } from '../../src/upstreams/connection.ts'
import type { Connection, Received } from '../../src/upstreams/target.ts'
import { patient } from '../support/wait.ts'
import { settingsFor } from './targets.ts'

const running: (() => unknown)[] = []
afterEach(async () => {
  for (const stop of running.splice(0)) await stop()
})

async function listen(server: Server): Promise<string> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  running.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const serve = (listener: RequestListener) => listen(createServer(listener))

function connected(url: string, changes: Parameters<typeof settingsFor>[1] = {}): Connection {
  const connection = connect(settingsFor(url, changes))
  running.push(() => connection.close())
  return connection
}

const call = {
  method: 'POST',
  path: '/v1/chat/completions',
  headers: { authorization: 'Bearer x' },
  body: 'hello',
} as const
const never = new AbortController().signal

async function textOf({ body }: Received): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

const failureOf = (work: Promise<unknown>): Promise<AttemptFailed> =>
  work.then(
    () => expect.unreachable('it should fail'),
    (error) => {
      expect(error).toBeInstanceOf(AttemptFailed)
      return error
    },
  )

describe('a request to an upstream', () => {
  it('goes below its URL with our headers, and brings back the status, the headers and the body', async () => {
    const url = await serve((request, response) => {
      response.writeHead(418, { 'x-there': 'yes' })
      request.pipe(response)
      response.write(`${request.method} ${request.url} ${request.headers.authorization} `)
    })
    const received = await connected(`${url}/inference`).send(call, never)
    expect(received).toMatchObject({ status: 418, headers: { 'x-there': 'yes' } })
    expect(await textOf(received)).toBe('POST /inference/v1/chat/completions Bearer x hello')
  })

  it('follows no redirect', async () => {
    const url = await serve((_, response) => response.writeHead(307, { location: '/elsewhere' }).end())
    expect(await connected(url).send(call, never)).toMatchObject({ status: 307 })
  })

  it('takes a connection that is kept', async () => {
    const sockets = new Set<unknown>()
    const url = await serve((request, response) => {
      sockets.add(request.socket)
      response.end('yes')
    })
    const connection = connected(url)
    for (let time = 0; time < 3; time++) {
      await textOf(await connection.send(call, never))
      await setImmediate()
    }
    expect(sockets.size).toBe(1)
  })

  it('is sent once more if the kept connection closes in that moment, and only then', async () => {
    const seen = new Map<Socket, number>()
    const url = await serve(({ socket }, response) => {
      seen.set(socket, (seen.get(socket) ?? 0) + 1)
      if (seen.get(socket) === 1) response.end('yes')
      else socket.end()
    })
    const connection = connected(url)
    await textOf(await connection.send(call, never))
    await setImmediate()
    expect(await textOf(await connection.send(call, never))).toBe('yes')
    expect([...seen.values()]).toEqual([2, 1])

    const closing = await listen(createTcpServer((socket) => socket.once('data', () => socket.end())))
    const { error, elsewhere, isFault } = await failureOf(connected(closing).send(call, never))
    expect([error.code, elsewhere, isFault]).toEqual(['upstream_closed', true, true])
  })

  it('may be tried elsewhere if nobody listens, or if the server is not the one that its certificate names', async () => {
    const server = createTcpServer()
    const url = await listen(server)
    server.close()
    for (const there of [url, 'http://nobody.invalid', (await serve(() => {})).replace('http', 'https')]) {
      const { error, elsewhere, isFault } = await failureOf(connected(there).send(call, never))
      expect([error.code, elsewhere, isFault]).toEqual(['upstream_unreachable', true, true])
      expect(error.message).not.toContain(new URL(there).host)
    }
  })

  it('ends at the upstream as soon as it is aborted, before the answer or within it', async () => {
    let begins = false
    const closed = vi.fn()
    const arrived = vi.fn()
    const url = await serve((_, response) => {
      arrived()
      response.on('close', closed)
      if (begins) response.write('some')
    })
    const connection = connected(url)
    const before = new AbortController()
    const sending = connection.send(call, before.signal)
    await vi.waitFor(() => expect(arrived).toHaveBeenCalled(), patient)
    before.abort()
    await expect(sending).rejects.toMatchObject({ kind: 'cancelled' })
    await vi.waitFor(() => expect(closed).toHaveBeenCalledTimes(1), patient)

    begins = true
    const within = new AbortController()
    const { body } = await connection.send(call, within.signal)
    const reader = body[Symbol.asyncIterator]()
    expect(String((await reader.next()).value)).toBe('some')
    const next = reader.next()
    within.abort()
    await expect(next).rejects.toMatchObject({ kind: 'cancelled' })
    await vi.waitFor(() => expect(closed).toHaveBeenCalledTimes(2), patient)
    await expect(connection.send(call, within.signal)).rejects.toMatchObject({ kind: 'cancelled' })
  })

  it('ends at the upstream when its body is cancelled, or no longer read', async () => {
    const closed = vi.fn()
    const url = await serve((_, response) => void response.on('close', closed).write('some'))
    const connection = connected(url)
    const { body } = await connection.send(call, never)
    body.cancel()
    for await (const _ of (await connection.send(call, never)).body) break
    await vi.waitFor(() => expect(closed).toHaveBeenCalledTimes(2), patient)
  })
})

describe('an answer', () => {
  it('arrives part by part', async () => {
    const read = deferred<void>()
    const url = await serve(async (_, response) => {
      response.write('one')
      await read.promise
      response.end('two')
    })
    const reader = (await connected(url).send(call, never)).body[Symbol.asyncIterator]()
    expect(String((await reader.next()).value)).toBe('one')
    read.resolve()
    expect(String((await reader.next()).value)).toBe('two')
    expect(await reader.next()).toEqual({ value: undefined, done: true })
  })

  it('waits at the upstream while nobody reads it, without an end of the time that it may pause', async () => {
    let sent = 0
    const piece = Buffer.alloc(1_000_000)
    const url = await serve(async (_, response) => {
      for (; sent < 40; sent++) if (!response.write(piece)) await once(response, 'drain')
      response.end()
    })
    const received = await connected(url, { idleTimeoutMs: 200 }).send(call, never)
    const reader = received.body[Symbol.asyncIterator]()
    let length = (await reader.next()).value?.length ?? 0
    await new Promise((resolve) => setTimeout(resolve, 500))
    // The buffers of two sockets and 64 kB here.
    expect(sent).toBeLessThan(20)
    for (let next = await reader.next(); !next.done; next = await reader.next()) length += next.value.length
    expect(length).toBe(40_000_000)
  })

  it('is given up if it pauses too long after it waited for its reader', async () => {
    const url = await serve((_, response) => void response.write(Buffer.alloc(1_000_000)))
    const received = await connected(url, { idleTimeoutMs: 300 }).send(call, never)
    const reader = received.body[Symbol.asyncIterator]()
    await reader.next()
    await new Promise((resolve) => setTimeout(resolve, 100))
    const pausing = await failureOf(
      textOf({ ...received, body: Object.assign(received.body, { [Symbol.asyncIterator]: () => reader }) }),
    )
    expect(pausing.error.message).toContain('sent nothing for 0.3 s')
  })

  it('has a body of megabytes as it is', async () => {
    const url = await serve(async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk)
      response.end(`${request.headers['content-length']} ${Buffer.concat(chunks).equals(large)}`)
    })
    const large = Buffer.from(JSON.stringify('word '.repeat(1_000_000)))
    const connection = connected(url)
    for (let time = 0; time < 2; time++) {
      const received = await connection.send({ ...call, body: jsonBody('word '.repeat(1_000_000)) }, never)
      expect(await textOf(received)).toBe(`${large.length} true`)
    }
  })

  it('is given up if it does not begin in time, or pauses too long, or breaks off', async () => {
    let does: (response: Parameters<RequestListener>[1]) => unknown = () => {}
    const url = await serve((_, response) => void does(response))
    const connection = connected(url, { firstByteTimeoutMs: 200, idleTimeoutMs: 300 })
    const slow = await failureOf(connection.send(call, never))
    expect([slow.error.code, slow.elsewhere, slow.isFault]).toEqual(['upstream_timeout', false, true])

    does = (response) => response.flushHeaders()
    const headersOnly = await failureOf(connection.send(call, never).then(textOf))
    expect(headersOnly.error.message).toContain('did not begin within 0.2 s')

    does = (response) => response.write('some')
    const pausing = await failureOf(connection.send(call, never).then(textOf))
    expect(pausing.error.message).toContain('sent nothing for 0.3 s')

    does = (response) => response.write('some', () => response.destroy())
    const broken = await failureOf(connection.send(call, never).then(textOf))
    expect([broken.error.code, broken.elsewhere, broken.isFault]).toEqual(['upstream_broke_off', false, true])
  })

  it('that is no HTTP, or has megabytes of headers, is none', async () => {
    for (const text of ['SSH-2.0-OpenSSH\r\n', `HTTP/1.1 200 OK\r\nx: ${'a'.repeat(1e6)}\r\n\r\n`]) {
      const url = await listen(createTcpServer((socket) => void socket.on('error', () => {}).write(text)))
      expect((await failureOf(connected(url).send(call, never))).error.code).toBe('upstream_closed')
    }
  })
})

describe('a connection that is closed', () => {
  it('ends what runs by it, and does not say that the upstream did', async () => {
    const begun = deferred<void>()
    const url = await serve((request, response) => {
      if (request.url?.endsWith('completions')) response.write('a')
      begun.resolve()
    })
    const connection = connected(url)
    const answered = await connection.send(call, never)
    const text = textOf(answered)
    const waiting = connection.send({ ...call, path: '/never' }, never)
    await begun.promise
    await setImmediate()
    const ends = [expect(text), expect(waiting)].map((end) => end.rejects.toMatchObject({ code: 'shutting_down' }))
    await connection.close()
    await Promise.all(ends)
  })
})
