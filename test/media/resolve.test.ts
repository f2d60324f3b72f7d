import { createSocket, type Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { resolver } from '../../src/media/fetch/resolve.ts'
import { shortRun } from '../support/long.ts'
import { patient } from '../support/wait.ts'

const sockets: Socket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close()
})

/** A name server that gives every name the same addresses, by the type of the query: 1 for A and 28 for AAAA. */
async function nameServer(
  addresses: Record<number, Buffer> | 'silent' | 'unknown',
  onQuery = () => {},
): Promise<string> {
  const socket = createSocket('udp4')
  sockets.push(socket)
  socket.on('message', (query, { port, address }) => {
    onQuery()
    if (addresses === 'silent') return
    const end = query.indexOf(0, 12) + 5
    const data = addresses === 'unknown' ? undefined : addresses[query.readUInt16BE(end - 4)]
    const status = addresses === 'unknown' ? 3 : 0
    const counts = [0, 1, 0, data === undefined ? 0 : 1, 0, 0, 0, 0]
    const record =
      data === undefined ? [] : [0xc0, 12, ...query.subarray(end - 4, end), 0, 0, 0, 0, 0, data.length, ...data]
    const answer = [...query.subarray(0, 2), 0x81, 0x80 + status, ...counts, ...query.subarray(12, end), ...record]
    socket.send(Buffer.from(answer), port, address)
  })
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  return `127.0.0.1:${socket.address().port}`
}

describe('a host name', () => {
  const four = Buffer.from([192, 0, 2, 1])
  const six = Buffer.from('20010db8000000000000000000000001', 'hex')

  it('resolves to all its addresses, IPv4 and IPv6', async () => {
    const resolve = resolver([await nameServer({ 1: four, 28: six })])
    expect(await resolve('images.example')).toEqual([
      { address: '192.0.2.1', family: 4 },
      { address: '2001:db8::1', family: 6 },
    ])
  })

  it('may have only IPv4 addresses', async () => {
    const resolve = resolver([await nameServer({ 1: four })])
    expect(await resolve('images.example')).toEqual([{ address: '192.0.2.1', family: 4 }])
  })

  it('is looked up in the hosts file first', async () => {
    const resolve = resolver([await nameServer({ 1: four })])
    expect((await resolve('LocalHost')).map(({ address }) => address)).toContain('127.0.0.1')
  })

  it('is passed to the resolver of the system if no name server knows it', async () => {
    const resolve = resolver([await nameServer('unknown')])
    await expect(resolve('nowhere.invalid')).rejects.toMatchObject({ syscall: 'getaddrinfo' })
  })

  it.skipIf(shortRun)('does not block other look-ups when its name servers never answer', async () => {
    let queries = 0
    const resolve = resolver([await nameServer('silent', () => queries++)])
    let failed = 0
    const unanswered = Array.from({ length: 30 }, (_, index) => resolve(`h${index}.example`).catch(() => failed++))
    await vi.waitFor(() => expect(queries).toBeGreaterThanOrEqual(30), patient)
    // This look-up needs a thread of the system's resolver, and ends while all others wait.
    await lookup('localhost')
    expect(failed).toBe(0)
    await Promise.all(unanswered)
    expect(failed).toBe(30)
  })
})
