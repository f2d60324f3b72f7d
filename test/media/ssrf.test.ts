import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { OrielError } from '../../src/errors.ts'
import { loadConfig } from '../../src/load-config.ts'
import { publicAddresses } from '../../src/media/fetch/addresses.ts'
import type { Resolve } from '../../src/media/fetch/fetch.ts'
import { shape } from '../support/images.ts'
import { openMedia } from './media.ts'

/** For hosts that never answer. */
const shortTimeoutMs = 800
/** For all others. A test that needs it all fails by its own time limit. */
const longTimeoutMs = 120_000
const clientErrors = ['invalid', 'url_timeout', 'too_large', 'unsupported_media', 'unreadable_media']

/** Listens on addresses that nothing may connect to, all on one port, and counts the connections. */
const canary = { port: 0, visits: 0, servers: [] as TcpServer[] }
const forbidden = ['127.0.0.2', '127.0.0.3', '::1']
/** The hostile host, at the one address that may be fetched from. */
let host: Server
let origin: string
let image: Buffer
let answer: RequestListener = () => {}

const listen = (server: TcpServer, address: string, port = 0): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, address, () => resolve((server.address() as AddressInfo).port))
  })

beforeAll(async () => {
  image = await shape('red', 'circle', 64)
  for (const address of forbidden) {
    const server = createTcpServer((socket) => {
      canary.visits++
      socket.on('error', () => {})
      socket.end(`HTTP/1.1 200 OK\r\ncontent-length: ${image.length}\r\n\r\n`)
    })
    canary.port = await listen(server, address, canary.port)
    canary.servers.push(server)
  }
  host = createServer((request, response) => answer(request, response))
  origin = `http://127.0.0.1:${await listen(host, '127.0.0.1')}`
})
afterAll(() => {
  host.closeAllConnections()
  for (const server of [host, ...canary.servers]) server.close()
})
beforeEach(() => {
  canary.visits = 0
})

async function refused(load: Promise<unknown>): Promise<OrielError> {
  const error = await load.then(
    () => new Error('it was loaded'),
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof OrielError)) throw error
  return error
}

/** An error about the URL that reveals nothing about the network or this machine, and no connection to an internal address. */
function expectRefusal(error: OrielError): void {
  expect(clientErrors).toContain(error.kind)
  expect(error.message).not.toMatch(/\d+\.\d+\.\d+\.\d+|::|E[A-Z]{5,}|localhost|\/(src|home|etc|tmp)\//)
  expect(canary.visits).toBe(0)
}

describe('refuses hosts that are not on the public internet, however they are written', () => {
  const media = openMedia({ urlTimeoutMs: shortTimeoutMs })
  beforeAll(() => media.loadOne(image))
  afterAll(() => media.close())

  const hosts = [
    ...['127.0.0.2', '127.0.0.3', 'localhost', 'LOCALHOST', 'localhost.', '127.0.0.2.', '127.2', '127.0.2'],
    // Decimal, octal, hexadecimal and mixed.
    ...[
      '2130706434',
      '017700000002',
      '0x7f000002',
      '0x7f.0x0.0x0.0x2',
      '0177.0.0.02',
      '0x7f.2',
      '127.0.0.0x2',
      '0x7F.0.02',
    ],
    // Characters that IDNA maps to digits and dots.
    ...['①②⑦.⓪.⓪.②', '127。0。0。2', '１２７.0.0.2', '%31%32%37.0.0.2', '127.0.0.2%2e'],
    ...['0.0.0.0', '0', '0x0', '[::]', '[::1]', '[0:0:0:0:0:0:0:1]', '[::0001]'],
    // IPv4 embedded in IPv6: mapped, compatible, translated, NAT64, its local prefix, 6to4, Teredo, ISATAP.
    ...['[::ffff:127.0.0.2]', '[::ffff:7f00:2]', '[::127.0.0.2]', '[::ffff:0:127.0.0.2]', '[64:ff9b::7f00:2]'],
    ...['[64:ff9b:1::7f00:2]', '[2002:7f00:2::]', '[2001:0:4136:e378:8000:63bf:80ff:fffd]', '[fe80::5efe:7f00:2]'],
    ...['10.0.0.1', '10.255.255.255', '172.16.0.1', '172.31.255.255', '192.168.0.1', '192.168.255.255'],
    // Metadata services of AWS, Google, Azure, Alibaba, Oracle.
    ...['169.254.169.254', '169.254.170.2', '100.100.100.200', '192.0.0.192', '[fd00:ec2::254]', '0xA9FEA9FE'],
    // CGNAT, benchmarks, documentation, multicast, reserved, broadcast.
    ...['100.64.0.1', '198.18.0.1', '192.0.2.1', '198.51.100.1', '203.0.113.1', '192.88.99.1', '224.0.0.1'],
    ...['239.255.255.250', '240.0.0.1', '255.255.255.255'],
    ...['[fe80::1]', '[fe80::1%25lo]', '[fe80::1%lo]', '[fec0::1]', '[fc00::1]', '[fdff::1]', '[ff02::1]'],
    ...['[2001:db8::1]', '[100::1]', '[3fff::1]', '[5f00::1]', '[2001:2::1]', '[2001:10::1]'],
  ]
  it.for(hosts)('%s', async (name) =>
    expectRefusal(await refused(media.loadOne(`http://${name}:${canary.port}/a.png`))),
  )

  const urls: [what: string, url: () => string][] = [
    ['a public name before an @', () => `http://example.com@127.0.0.2:${canary.port}/`],
    ['credentials', () => `http://user:password@127.0.0.2:${canary.port}/`],
    ['a user without a password', () => `http://user@127.0.0.2:${canary.port}/`],
    ['a backslash that parsers disagree on', () => `http://127.0.0.2:${canary.port}\\@example.com/`],
    ['backslashes instead of slashes', () => `http:\\\\127.0.0.2:${canary.port}\\`],
    ['no slashes', () => `http:127.0.0.2:${canary.port}`],
    ['three slashes', () => `http:///127.0.0.2:${canary.port}/`],
    ['a fragment that looks like a host', () => `http://127.0.0.2:${canary.port}#@example.com/`],
    ['a question mark that ends the host', () => `http://127.0.0.2:${canary.port}?@example.com/`],
    ['a line break in the host', () => `http://127.0.\n0.2:${canary.port}/`],
    ['a tab in the scheme', () => `ht\ttp://127.0.0.2:${canary.port}/`],
    ['white space before it', () => `  http://127.0.0.2:${canary.port}/`],
    ['capitals', () => `HTTP://127.0.0.2:${canary.port}/`],
    ['no scheme', () => `//127.0.0.2:${canary.port}/a.png`],
    ['no host', () => 'http://'],
    ['a port alone', () => `http://:${canary.port}/`],
    ['a number too large for an address', () => 'http://4294967296/'],
    ['four numbers too large for an address', () => 'http://256.256.256.256/'],
    ['a port too large', () => 'http://example.com:99999/'],
    ['a space in the host', () => 'http://exa mple.com/'],
    ['a URL that is very long', () => `http://example.com/${'a'.repeat(16_000)}`],
    ['a path', () => '/etc/passwd'],
    ...[
      'file:///etc/passwd',
      'file://localhost/etc/passwd',
      'FILE:/etc/passwd',
      'ftp://127.0.0.2/a.png',
      'gopher://127.0.0.2/_x',
      'dict://127.0.0.2/x',
      'ldap://127.0.0.2/x',
      'unix:/var/run/docker.sock',
      'http+unix://%2Fvar%2Frun%2Fdocker.sock/x',
      'jar:http://127.0.0.2/a!/b',
      'javascript:alert(1)',
      'blob:http://127.0.0.2/1',
      'ws://127.0.0.2/',
      'view-source:http://127.0.0.2/',
      'data:text/html,<img src=http://127.0.0.2/>',
    ].map((url): [string, () => string] => [url, () => url]),
  ]
  it.for(urls)('%s', async ([, url]) => expectRefusal(await refused(media.loadOne(url()))))
})

describe('the public address of a cloud platform', () => {
  it.each(['168.63.129.16'])('%s is refused unless it is allowed', (address) => {
    expect(publicAddresses([])(address)).toBe(false)
    expect(publicAddresses(['168.63.129.0/24'])(address)).toBe(true)
    expect(publicAddresses([])('168.63.129.17')).toBe(true)
  })
})

describe('host names', () => {
  const resolved = (...addresses: string[]): Resolve => {
    return async () => addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
  }
  const answers: [what: string, resolve: Resolve][] = [
    ['an internal address', resolved('127.0.0.2')],
    ['an internal address after a public one', resolved('93.184.216.34', '127.0.0.2')],
    ['an internal address before a public one', resolved('127.0.0.2', '93.184.216.34')],
    ['an IPv6 address that embeds an internal one', resolved('::ffff:127.0.0.2')],
    ['a loopback address of IPv6', resolved('::1')],
    ['a link-local address with a scope', resolved('fe80::1%lo')],
    ['no address', resolved()],
    ['an invalid address', resolved('not-an-address')],
    ['an error', () => Promise.reject(new Error('queryA ESERVFAIL 10.0.0.53'))],
    ['nothing, because the name server never answers', () => new Promise(() => {})],
  ]
  it.for(answers)('are refused when they resolve to %s', async ([, resolve]) => {
    const media = openMedia({ urlTimeoutMs: shortTimeoutMs }, resolve)
    expectRefusal(await refused(media.loadOne(`http://images.example:${canary.port}/a.png`)))
    await media.close()
  })

  it('are resolved once: the connection goes to the checked address, whatever later DNS answers say', async () => {
    // The first answer is allowed, every later one is internal.
    const dns = createSocket('udp4')
    let queries = 0
    dns.on('message', (query, { port, address }) => {
      queries++
      const question = query.subarray(12, query.indexOf(0, 12) + 5)
      const head = Buffer.from([...query.subarray(0, 2), 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0])
      const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, queries === 1 ? 1 : 2])
      dns.send(Buffer.concat([head, question, record]), port, address)
    })
    await new Promise<void>((resolve) => dns.bind(0, '127.0.0.1', resolve))
    const resolver = new Resolver()
    resolver.setServers([`127.0.0.1:${dns.address().port}`])
    const media = openMedia({ urlTimeoutMs: longTimeoutMs, allowPrivate: ['127.0.0.1'] }, async (name) =>
      (await resolver.resolve4(name)).map((address) => ({ address, family: 4 })),
    )
    answer = (_, response) => response.end(image)
    expect((await media.loadOne(`http://rebind.example:${new URL(origin).port}/a.png`)).images).toHaveLength(1)
    expect(queries).toBe(1)
    expectRefusal(await refused(media.loadOne(`http://rebind.example:${canary.port}/a.png`)))
    expect(queries).toBe(2)
    // A redirect to the same name resolves it again.
    queries = 0
    answer = (_, response) => response.writeHead(302, { location: `http://rebind.example:${canary.port}/` }).end()
    expectRefusal(await refused(media.loadOne(`http://rebind.example:${new URL(origin).port}/`)))
    expect(queries).toBe(2)
    dns.close()
    await media.close()
  })

  it('are refused when they are not allowed, or denied', async () => {
    const settings = {
      urlTimeoutMs: longTimeoutMs,
      allowPrivate: ['127.0.0.1'],
      allowDomains: ['good.example'],
      denyDomains: ['bad.good.example'],
    }
    const media = openMedia(settings, resolved('127.0.0.1'))
    const { port } = new URL(origin)
    answer = (_, response) => response.end(image)
    for (const name of ['good.example', 'cdn.good.example', 'GOOD.example.'])
      expect((await media.loadOne(`http://${name}:${port}/`)).images).toHaveLength(1)
    for (const name of [
      'evil.example',
      'notgood.example',
      'good.example.evil.example',
      'bad.good.example',
      'x.bad.good.example',
      '127.0.0.1',
    ]) {
      const error = await refused(media.loadOne(`http://${name}:${port}/`))
      expectRefusal(error)
      expect(error.message).toMatch(/configured not to fetch from its host/)
    }
    answer = (_, response) => response.writeHead(302, { location: `http://evil.example:${port}/` }).end()
    expectRefusal(await refused(media.loadOne(`http://good.example:${port}/`)))
    await media.close()
  })
})

describe('refuses what a hostile host sends', () => {
  const settings = { allowPrivate: ['127.0.0.1'], maxUrlBytes: 100_000 }
  const media = openMedia({ ...settings, urlTimeoutMs: longTimeoutMs })
  const hasty = openMedia({ ...settings, urlTimeoutMs: shortTimeoutMs })
  beforeAll(() => Promise.all([media.loadOne(image), hasty.loadOne(image)]))
  afterAll(() => Promise.all([media.close(), hasty.close()]))
  const redirect =
    (location: string | (() => string), status = 302): RequestListener =>
    (_, response) =>
      response.writeHead(status, { location: typeof location === 'string' ? location : location() }).end()
  /** Redirects `hops` times to the same host, then to `last`. */
  const chain =
    (hops: number, last: () => string): RequestListener =>
    ({ url = '' }, response) => {
      const hop = Number(url.slice(1)) || 0
      response.writeHead(302, { location: hop < hops ? `/${hop + 1}` : last() }).end()
    }
  const raw =
    (...chunks: (string | Buffer)[]): RequestListener =>
    (request) => {
      for (const chunk of chunks) request.socket.write(chunk)
      request.socket.end()
    }
  const stalled =
    (text: string): RequestListener =>
    ({ socket }) =>
      socket.write(text)
  /** Writes `chunk` repeatedly until the connection is closed. */
  const endless =
    (head: string, chunk: string | Buffer, everyMs: number): RequestListener =>
    ({ socket }) => {
      socket.write(head)
      const timer = setInterval(() => socket.write(chunk), everyMs)
      socket.on('error', () => {}).on('close', () => clearInterval(timer))
    }
  const internal = (address = '127.0.0.2') => `http://${address}:${canary.port}/`
  const bomb = gzipSync(Buffer.alloc(50_000_000))
  const png = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')

  const behaviours: [what: string, listener: RequestListener, kind: string | undefined][] = [
    ['a redirect to an internal address', redirect(() => internal()), 'invalid'],
    ['a permanent redirect to an internal address', redirect(() => internal(), 308), 'invalid'],
    ['a redirect to the IPv6 loopback address', redirect(() => internal('[::1]')), 'invalid'],
    ['a redirect to localhost', redirect(() => internal('localhost')), 'invalid'],
    ['a redirect to a number', redirect(() => internal('2130706434')), 'invalid'],
    ['a redirect without a scheme', redirect(() => `//127.0.0.2:${canary.port}/`), 'invalid'],
    ['a redirect with a backslash', redirect(() => `/\\127.0.0.2:${canary.port}/`), 'invalid'],
    ['a redirect to a metadata service', redirect('http://169.254.169.254/latest/meta-data/'), 'invalid'],
    ['a redirect to file:', redirect('file:///etc/passwd'), 'invalid'],
    ['a redirect to data:', redirect('data:image/png;base64,iVBORw0KGgo='), 'invalid'],
    ['a redirect to gopher:', redirect('gopher://127.0.0.2/'), 'invalid'],
    ['a redirect with credentials', redirect('http://a:b@example.com/'), 'invalid'],
    ['a redirect to a URL without a host', redirect('http://'), 'invalid'],
    ['a redirect without a location', (_, response) => response.writeHead(302).end(), 'invalid'],
    ['a chain of redirects that ends at an internal address', chain(2, () => internal()), 'invalid'],
    ['a chain of too many redirects', chain(9, () => internal()), 'invalid'],
    ['a redirect to itself', redirect('/'), 'invalid'],
    [
      'a redirect whose body never ends',
      endless(
        `HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/\r\ntransfer-encoding: chunked\r\n\r\n`,
        '1\r\nx\r\n',
        5,
      ),
      'invalid',
    ],
    ['headers that never come', () => {}, 'url_timeout'],
    ['headers that arrive letter by letter', endless('HTTP/1.1 200 OK\r\nx: ', 'x', 30), 'url_timeout'],
    ['headers without end', endless('HTTP/1.1 200 OK\r\n', `x-${'y'.repeat(4000)}: z\r\n`, 1), 'invalid'],
    ['"continue" without end', endless('', 'HTTP/1.1 100 Continue\r\n\r\n', 5), undefined],
    ['a body that arrives byte by byte', endless('HTTP/1.1 200 OK\r\n\r\n', 'P', 30), 'url_timeout'],
    ['a body that never comes', stalled('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n'), 'url_timeout'],
    [
      'a body without end',
      endless('HTTP/1.1 200 OK\r\n\r\n', Buffer.concat([png, Buffer.alloc(50_000)]), 1),
      'too_large',
    ],
    [
      'a chunk without end',
      endless(
        'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffff\r\n',
        Buffer.concat([png, Buffer.alloc(50_000)]),
        1,
      ),
      'too_large',
    ],
    ['a content-length above the limit', stalled('HTTP/1.1 200 OK\r\ncontent-length: 100001\r\n\r\n'), 'too_large'],
    ['a content-length longer than the body', raw('HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n', png), 'invalid'],
    ['a content-length that is not a number', raw('HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n', png), 'invalid'],
    [
      'two different content-lengths',
      raw('HTTP/1.1 200 OK\r\ncontent-length: 8\r\ncontent-length: 9\r\n\r\n', png),
      'invalid',
    ],
    [
      'a gzip bomb',
      (_, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb),
      'unsupported_media',
    ],
    [
      'a gzip bomb with the media type of an image',
      (_, response) => response.writeHead(200, { 'content-type': 'image/png' }).end(bomb),
      'unsupported_media',
    ],
    ['a web page', (_, response) => response.end(`<!doctype html><html>${' '.repeat(100)}`), 'unsupported_media'],
    [
      'a web page with the media type of an image',
      (_, response) => response.writeHead(200, { 'content-type': 'image/png' }).end('<!doctype html>'),
      'unsupported_media',
    ],
    [
      'an SVG that refers to internal addresses',
      (_, response) => response.end(`<svg xmlns="http://www.w3.org/2000/svg"><image href="${internal()}"/></svg>`),
      'unsupported_media',
    ],
    ['an empty body', (_, response) => response.end(), 'unsupported_media'],
    ['status 204', (_, response) => response.writeHead(204).end(), 'invalid'],
    ['status 401', (_, response) => response.writeHead(401, { 'www-authenticate': 'Basic' }).end(), 'invalid'],
    ['status 404', (_, response) => response.writeHead(404).end(), 'invalid'],
    ['status 500', (_, response) => response.writeHead(500).end('at /home/app'), 'invalid'],
    ['status 304 without a cached file', (_, response) => response.writeHead(304).end(), 'invalid'],
    ['a connection that closes at once', ({ socket }) => socket.destroy(), 'invalid'],
    ['a response that is not HTTP', raw('SSH-2.0-OpenSSH_9.2\r\n'), 'invalid'],
    [
      'a protocol upgrade',
      raw('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n'),
      'invalid',
    ],
  ]
  it.for(behaviours)('%s', async ([, listener, kind]) => {
    answer = listener
    const endless = kind === 'url_timeout' || kind === undefined
    const error = await refused((endless ? hasty : media).loadOne(`${origin}/0`))
    expectRefusal(error)
    if (kind !== undefined) expect(error.kind).toBe(kind)
  })

  it('an untrusted TLS certificate, and a closed port', async () => {
    expectRefusal(await refused(media.loadOne(origin.replace('http:', 'https:'))))
    expectRefusal(await refused(media.loadOne('http://127.0.0.1:9/')))
  })

  it('a host sees the name of the server and nothing about the client', async () => {
    let seen: Record<string, unknown> = {}
    answer = ({ headers }, response) => {
      seen = headers
      response.end(image)
    }
    await media.loadOne(`${origin}/0#fragment`)
    expect(seen['user-agent']).toMatch(/^Oriel\/\d+\.\d+\.\d+ /)
    expect(seen['accept-encoding']).toBe('identity')
    expect(Object.keys(seen).sort()).toEqual(['accept', 'accept-encoding', 'connection', 'host', 'user-agent'])
  })
})

describe('settings for hosts', () => {
  const invalid: [setting: string, entry: string, says: string][] = [
    ['ORIEL_ALLOW_PRIVATE', 'localhost', 'must be an address or a range'],
    ['ORIEL_ALLOW_PRIVATE', '10.0.0.0/33', 'must be an address or a range'],
    ['ORIEL_DENY_DOMAINS', '*.example.com', 'must be like example.com'],
    ['ORIEL_DENY_DOMAINS', '.example.com', 'must be like example.com'],
    ['ORIEL_DENY_DOMAINS', 'https://example.com/', 'must be like example.com'],
    ['ORIEL_DENY_DOMAINS', 'example.com:80', 'must be like example.com'],
    ['ORIEL_ALLOW_DOMAINS', '*', 'must be like example.com'],
    ['ORIEL_FETCH_PROXY', 'ftp://proxy.example.com', 'must be like http://'],
  ]
  it.for(invalid)('refuses %s=%s, which could never match', ([setting, entry, says]) => {
    expect(() => loadConfig({}, { [setting]: entry })).toThrow(says)
  })

  it('accepts addresses, ranges and domains', () => {
    const allowPrivate = '127.0.0.1,10.0.0.0/8,::1,fd00::/8'
    const denyDomains = 'example.com,bücher.example,192.0.2.1,2001:db8::1,intranet'
    const { media } = loadConfig({}, { ORIEL_ALLOW_PRIVATE: allowPrivate, ORIEL_DENY_DOMAINS: denyDomains })
    expect(() => publicAddresses(media.allowPrivate)).not.toThrow()
    expect(media.denyDomains).toHaveLength(5)
  })
})
