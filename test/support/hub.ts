import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface FakeRepo {
  files: Readonly<Record<string, FakeFile>>
  /** The token that is required; without one, the repository is public. */
  token?: string
  /** Whether the owner of the token has no access yet. */
  gated?: boolean
}

interface FakeFile {
  content: Buffer
  /** What the hub reports instead of the truth. */
  claims?: { sha256?: string; bytes?: number }
}

/** Simulated failures. Entries of a list occur once each, in order. */
interface Trouble {
  /** Statuses of the API and of `resolve`, with their `Retry-After`. */
  busy: { status: number; retryAfter?: string }[]
  /** Bytes of a response after which the file host closes the connection. */
  cuts: number[]
  /** Delay before each 64 KB, in ms. Permanent. */
  pace: number
  /** Whether ranges are ignored. Permanent. */
  noRanges: boolean
}

export const commit = '1234567890abcdef1234567890abcdef12345678'
const piece = 65_536
const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex')

/**
 * A server on loopback with the protocol of Hugging Face: file listings, `resolve` with the headers of LFS and Xet,
 * redirects to a second host that serves the files and refuses tokens, and the error codes.
 */
export class FakeHub {
  readonly trouble: Trouble = { busy: [], cuts: [], pace: 0, noRanges: false }
  /** `GET /path` of every request, to the hub and to the file host. */
  readonly requests: string[] = []
  /** Bytes that the file host sent. */
  sent = 0
  readonly #repos: Readonly<Record<string, FakeRepo>>
  readonly #hub: Server
  readonly #files: Server

  static async start(repos: Readonly<Record<string, FakeRepo>>): Promise<FakeHub> {
    const hub = new FakeHub(repos)
    for (const server of [hub.#hub, hub.#files])
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return hub
  }

  private constructor(repos: Readonly<Record<string, FakeRepo>>) {
    this.#repos = repos
    this.#hub = createServer((request, response) => this.#answer(request, response))
    this.#files = createServer((request, response) => void this.#send(request, response))
  }

  get url(): string {
    return urlOf(this.#hub)
  }

  async close(): Promise<void> {
    for (const server of [this.#hub, this.#files]) {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname } = new URL(request.url ?? '/', this.url)
    this.requests.push(`${request.method} ${pathname}`)
    const busy = this.trouble.busy.shift()
    if (busy !== undefined) {
      response.writeHead(busy.status, busy.retryAfter === undefined ? {} : { 'retry-after': busy.retryAfter })
      response.end('busy')
      return
    }
    const [, name = ''] = /^(?:\/api\/models)?\/([^/]+\/[^/]+)\//.exec(pathname) ?? []
    const repo = this.#repos[name]
    const token = request.headers.authorization?.replace('Bearer ', '')
    const [, escaped] = /^\/[^/]+\/[^/]+\/resolve\/[^/]+\/(.+)$/.exec(pathname) ?? []
    const path = escaped === undefined ? undefined : decodeURIComponent(escaped)
    const refusal = refusalOf(name, repo, path, token)
    if (repo === undefined || refusal !== null) {
      const [status, code, message] = refusal ?? [500, '', '']
      response.writeHead(status, { 'x-error-code': code, 'x-error-message': message })
      response.end(JSON.stringify({ error: message }))
      return
    }
    const file = repo.files[path ?? '']
    if (path === undefined || file === undefined) {
      const siblings = Object.keys(repo.files).map((rfilename) => ({ rfilename }))
      const body = { id: name, sha: commit, private: false, gated: repo.token ? 'manual' : false, siblings }
      response.setHeader('content-type', 'application/json').end(JSON.stringify(body))
      return
    }
    const sha = file.claims?.sha256 ?? sha256(file.content)
    response.writeHead(302, {
      location: `${urlOf(this.#files)}/${sha}/${name}/${path}?X-Amz-Signature=secret`,
      'x-repo-commit': commit,
      'x-linked-size': file.claims?.bytes ?? file.content.length,
      'x-linked-etag': `"${sha}"`,
      'x-xet-hash': sha256(Buffer.from(sha)),
      link: `<${this.url}/api/models/${name}/xet-read-token/${commit}>; rel="xet-auth"`,
      'accept-ranges': 'bytes',
      etag: `"${sha}"`,
    })
    response.end()
  }

  async #send(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? '/', this.url)
    this.requests.push(`${request.method} files ${request.headers.range ?? 'whole'}`)
    const [, owner = '', name = '', ...path] = pathname.slice(1).split('/').map(decodeURIComponent)
    const file = this.#repos[`${owner}/${name}`]?.files[path.join('/')]
    // Like S3, refuses a second authorization beside the signed URL.
    if (file === undefined || request.headers.authorization !== undefined) {
      response.writeHead(400).end('Only one auth mechanism allowed')
      return
    }
    const { length } = file.content
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(this.trouble.noRanges ? '' : (request.headers.range ?? '')) ?? []
    const begin = Number(from ?? 0)
    const end = to ? Math.min(Number(to) + 1, length) : length
    response.writeHead(from === undefined ? 200 : 206, {
      'content-length': end - begin,
      etag: '"5d41402abc4b2a76b9719d911017c592"',
      'accept-ranges': 'bytes',
      ...(from === undefined ? {} : { 'content-range': `bytes ${begin}-${end - 1}/${length}` }),
    })
    const cut = this.trouble.cuts.shift() ?? Number.POSITIVE_INFINITY
    for (let at = begin; at < end && !response.destroyed; at += piece) {
      if (this.trouble.pace > 0) await sleep(this.trouble.pace)
      const part = file.content.subarray(at, Math.min(end, at + piece, begin + cut))
      this.sent += part.length
      await new Promise((resolve) => response.write(part, resolve))
      if (at + part.length - begin < cut) continue
      response.destroy()
      return
    }
    response.end()
  }
}

/** Status, code and message of a refusal; null if the request is allowed. */
function refusalOf(
  name: string,
  repo: FakeRepo | undefined,
  path: string | undefined,
  token: string | undefined,
): [number, string, string] | null {
  // Hugging Face does not reveal to anonymous clients which repositories exist.
  if (repo === undefined && token === undefined) return [401, 'RepoNotFound', 'Invalid username or password.']
  if (repo === undefined) return [404, 'RepoNotFound', 'Repository not found']
  if (path === undefined) return null
  const message = `Access to model ${name} is restricted.`
  if (repo.token !== undefined && token !== repo.token) return [401, 'GatedRepo', message]
  if (repo.gated) return [403, 'GatedRepo', message]
  return repo.files[path] === undefined ? [404, 'EntryNotFound', 'Entry not found'] : null
}

const urlOf = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
