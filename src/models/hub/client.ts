import type { EnvHttpProxyAgent } from 'undici'
import { z } from 'zod'
import type { ModelsConfig } from '../../config.ts'
import { OrielError } from '../../errors.ts'
import { parseJson } from '../../json.ts'
import { version } from '../../version.ts'
import { type Refusal, refusedBy, withRetries } from './refusals.ts'

export interface RemoteFile {
  repo: string
  commit: string
  /** In the repository. */
  path: string
  bytes: number
  /** Its name among the blobs of the cache: the sha256 of large files, git's own hash of small ones. */
  etag: string
}

/** A repository at one commit. */
export interface Listing {
  repo: string
  commit: string
  paths: readonly string[]
}

/** The response with a part of a file. */
export interface Bytes {
  /** Whether the bytes begin at the requested place, and not at the beginning of the file. */
  partial: boolean
  /** The size of the file from the headers; null if they do not have it. */
  totalBytes: number | null
  /** Identifies the version of the file: a strong ETag, or `Last-Modified`; null if there is neither. */
  validator: string | null
  chunks: AsyncIterable<Buffer>
}

/** Timeouts of a request, in ms. */
const timeouts = { connect: 10_000, silence: 30_000 }
const mostRedirects = 8
/** Bytes of a listing: of ten thousands of files. */
const mostListed = 4_000_000

/** The hub's HTTP API: https://huggingface.co/docs/hub/api, and what huggingface_hub asks of it. */
export class HubClient {
  readonly #endpoint: string
  readonly #token: string | null
  readonly #onRetry: (why: string, seconds: number) => void
  #isReached = false
  /** Uses the proxies of the environment, as huggingface_hub does. */
  #agent: EnvHttpProxyAgent | undefined

  constructor({ endpoint, token }: ModelsConfig['hub'], onRetry: (why: string, seconds: number) => void) {
    this.#endpoint = endpoint.replace(/\/+$/, '')
    this.#token = token
    this.#onRetry = onRetry
  }

  /** @throws OrielError `not_found`, `unauthorized` or `forbidden` */
  async list(repo: string, revision: string, signal: AbortSignal): Promise<Listing> {
    const url = `${this.#endpoint}/api/models/${repo}/revision/${encodeURIComponent(revision)}`
    return this.retried({ repo, revision }, signal, async () => {
      const { body } = await this.#ask('GET', url, { repo, revision }, signal)
      const parsed = listing.safeParse(parseJson(await textOf(body, mostListed)))
      if (!parsed.success)
        throw new OrielError(
          'internal',
          `${this.#endpoint} does not respond like a hub: it is another server, or a proxy responds in its place.`,
          { code: 'not_a_hub' },
        )
      const { sha, siblings } = parsed.data
      return { repo, commit: sha, paths: siblings.map(({ rfilename }) => rfilename).filter(isSafe) }
    })
  }

  /** The size and hash of a file. @throws OrielError as `list` does */
  async describe(repo: string, commit: string, path: string, signal: AbortSignal): Promise<RemoteFile> {
    const what = { repo, revision: commit, path }
    return this.retried(what, signal, async () => {
      const { headers, body } = await this.#ask('HEAD', this.urlOf(repo, commit, path), what, signal)
      await body.dump()
      const etag = (one(headers['x-linked-etag']) ?? one(headers.etag))?.replace(/^W\//, '').replaceAll('"', '')
      const bytes = Number(one(headers['x-linked-size']) ?? one(headers['content-length']))
      if (etag === undefined || !/^[\w-]{8,128}$/.test(etag) || !Number.isSafeInteger(bytes) || bytes < 0)
        throw new OrielError('internal', `The hub does not send the hash and the size of ${path} of ${repo}.`)
      return { repo, commit: one(headers['x-repo-commit']) ?? commit, path, bytes, etag }
    })
  }

  urlOf(repo: string, commit: string, path: string): string {
    const encoded = path.split('/').map(encodeURIComponent).join('/')
    return `${this.#endpoint}/${repo}/resolve/${encodeURIComponent(commit)}/${encoded}`
  }

  /**
   * Opens a file at `from`. It makes one attempt: the reader knows how far it came.
   * @param to the end of the range, exclusive
   * @param validator of the expected version: a server sends any other version from its beginning
   */
  async open(
    url: string,
    from: number,
    to: number,
    what: Refusal,
    signal: AbortSignal,
    validator: string | null = null,
  ): Promise<Bytes> {
    const range = {
      range: `bytes=${from}-${to - 1}`,
      ...(validator === null ? {} : { 'if-range': validator }),
    }
    const { statusCode, headers, body } = await this.#ask('GET', url, what, signal, range)
    const [, begin, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(one(headers['content-range']) ?? '') ?? []
    const partial = statusCode === 206
    if (partial && Number(begin) !== from)
      throw new OrielError(
        'internal',
        `${what.path ?? what.repo} cannot be downloaded: the server sent bytes from ${begin ?? 'an unknown place'} instead of ${from}.`,
      )
    const length = one(headers['content-length'])
    const whole = partial ? total : length
    const etag = one(headers.etag)
    return {
      partial,
      totalBytes: whole === undefined ? null : Number(whole),
      validator: (etag?.startsWith('"') ? etag : one(headers['last-modified'])) ?? null,
      chunks: body,
    }
  }

  /** @param progress bytes so far: an attempt that made progress does not count as failed */
  retried<T>(what: Refusal, signal: AbortSignal, attempt: () => Promise<T>, progress?: () => number): Promise<T> {
    const { host } = new URL(this.#endpoint)
    return withRetries(attempt, {
      ...{ signal, host, what, progress, onRetry: this.#onRetry },
      isReached: () => this.#isReached,
    })
  }

  /** Whether the hub answers. @throws OrielError why it does not */
  async reach(signal: AbortSignal): Promise<void> {
    await this.retried({ repo: 'the hub' }, signal, async () => {
      const { body } = await this.#ask('GET', `${this.#endpoint}/api/models?limit=1`, { repo: 'the hub' }, signal)
      await body.dump()
    })
  }

  async close(): Promise<void> {
    await this.#agent?.destroy()
  }

  /**
   * One request and its redirects. The token is sent to the hub only, never to the host of the bytes. A HEAD does not
   * follow the redirect to that host: the hub's own headers describe the file.
   */
  async #ask(method: 'GET' | 'HEAD', url: string, what: Refusal, signal: AbortSignal, extra: object = {}) {
    const { EnvHttpProxyAgent, request } = await import('undici')
    this.#agent ??= new EnvHttpProxyAgent({
      connect: { timeout: timeouts.connect },
      headersTimeout: timeouts.silence,
      bodyTimeout: timeouts.silence,
    })
    let at = url
    for (let redirects = 0; redirects <= mostRedirects; redirects++) {
      const authorized = this.#token !== null && at.startsWith(`${this.#endpoint}/`)
      const response = await request(at, {
        method,
        dispatcher: this.#agent,
        signal,
        headers: {
          'user-agent': `oriel/${version}`,
          'accept-encoding': 'identity',
          ...(authorized ? { authorization: `Bearer ${this.#token}` } : {}),
          ...extra,
        },
      })
      this.#isReached = true
      const location = one(response.headers.location)
      if (response.statusCode < 300) return response
      if (response.statusCode >= 400 || location === undefined) {
        await response.body.dump()
        throw refusedBy(response.statusCode, response.headers, what, this.#token !== null)
      }
      const next = new URL(location, at).href
      if (method === 'HEAD' && response.headers['x-linked-etag'] !== undefined) return response
      await response.body.dump()
      at = next
    }
    throw new OrielError('internal', `The hub redirects ${what.path ?? what.repo} too often.`)
  }
}

const listing = z.object({
  sha: z.string().regex(/^[0-9a-f]{40}$/),
  siblings: z.array(z.object({ rfilename: z.string() })),
})

/** Whether a name stays in the folder of its snapshot. */
const isSafe = (path: string): boolean =>
  !/[\\\p{Cc}]/u.test(path) && path.split('/').every((part) => part !== '' && part !== '.' && part !== '..')

/** The text of a body; empty if it is longer than `most` bytes. */
async function textOf(body: AsyncIterable<Buffer>, most: number): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > most) return ''
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

const one = (value: string | string[] | undefined): string | undefined => (Array.isArray(value) ? value[0] : value)
