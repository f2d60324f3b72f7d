import type { Costs } from '../fairness.ts'
import type { ImageEncoder } from './image-encoder.ts'
import type { AttachmentSpan } from './prompt-cells.ts'
import type { EngineRequest } from './sequence.ts'

/** Where the bytes of an attachment are until it is encoded. */
export interface PayloadSource {
  /** @returns an image's pixels `[height, width, 3]`; undefined if the request is over */
  payload(id: number, span: AttachmentSpan): Promise<Uint8Array | undefined>
  /** All embeddings of the attachment are present: the request will not ask for its payload again. */
  letGo(id: number, span: AttachmentSpan): void
}

/** Requests whose attachments are encoded. */
export interface Candidates {
  /** Admitted requests, the oldest first. */
  running: readonly EngineRequest[]
  /** Waiting requests in the order of the queue. Their attachments are encoded when no running request lacks one. */
  next: readonly EngineRequest[]
}

interface Turn {
  request: EngineRequest
  span: AttachmentSpan
}

/**
 * Chooses which span is encoded next. Clients take turns. Of one client's requests the oldest and the one that lacks the
 * fewest cells take turns: few images need not wait for many, and many are not delayed without end by few that keep coming.
 * A span that several requests lack is encoded once for all of them.
 */
export class EncodeTurns {
  readonly #encoder: ImageEncoder
  readonly #source: PayloadSource
  readonly #candidates: () => Candidates
  readonly #costs: Costs
  readonly #changed: () => void
  #going = false
  #last: EngineRequest | undefined
  /** The key of the span that is being encoded. */
  #current = ''
  /** The payload of the attachment that is probably next. */
  #ahead: { hash: string; payload: Promise<Uint8Array | undefined> } | undefined

  /** @param changed called when a request has received embeddings or has failed */
  constructor(
    encoder: ImageEncoder,
    source: PayloadSource,
    candidates: () => Candidates,
    costs: Costs,
    changed: () => void,
  ) {
    this.#encoder = encoder
    this.#source = source
    this.#candidates = candidates
    this.#costs = costs
    this.#changed = changed
  }

  /** Gives the candidates what is cached and encodes the rest. To be called whenever the candidates change. */
  wake(): void {
    this.#giveCached()
    if (!this.#going) void this.#run()
  }

  async #run(): Promise<void> {
    this.#going = true
    for (let turn = this.#choose(); turn !== undefined; turn = this.#choose()) {
      await this.#take(turn)
      this.#giveCached()
    }
    this.#ahead = undefined
    this.#going = false
  }

  async #take({ request, span }: Turn): Promise<void> {
    const { key } = span
    this.#last = request
    const payload = this.#encoder.has(span) ? null : await this.#payload({ request, span })
    if (payload === undefined) return
    this.#current = key
    const encoding = this.#encoder.encode(span, payload)
    this.#fetchAhead()
    try {
      const { embeddings, ms } = await encoding
      this.#costs.charge(request.client, ms)
      for (const other of this.#lacking(key)) {
        other.encodeBegan ||= performance.now() - ms
        other.encoded(key, ms)
        give(other, (lacked) => (lacked.key === key ? embeddings : undefined), this.#letGo)
      }
    } catch (error) {
      for (const other of this.#lacking(key)) other.failure ??= error
    }
    this.#current = ''
    this.#changed()
  }

  #payload({ request, span }: Turn): Promise<Uint8Array | undefined> {
    const ahead = this.#ahead
    if (ahead?.hash !== span.attachment.hash) return this.#source.payload(request.id, span)
    this.#ahead = undefined
    return ahead.payload
  }

  /** The next payload crosses from the parent while the span before it is encoded. */
  #fetchAhead(): void {
    const next = this.#choose()
    if (next === undefined || this.#encoder.has(next.span)) return
    const { hash } = next.span.attachment
    if (this.#ahead?.hash !== hash) this.#ahead = { hash, payload: this.#source.payload(next.request.id, next.span) }
  }

  #choose(): Turn | undefined {
    const { running, next } = this.#candidates()
    const lacks = running.flatMap((request) => this.#lackOf(request) ?? [])
    const [[oldest, ...others] = []] = this.#costs.inTurn(lacks, ({ request }) => request.client)
    if (oldest === undefined) return next.map((request) => this.#lackOf(request)).find((lack) => lack !== undefined)
    if (oldest.request !== this.#last) return oldest
    return others.reduce((least, lack) => (lack.cells < least.cells ? lack : least), oldest)
  }

  /** @returns the first span whose embeddings a request needs and lacks, and the number of cells that it lacks in all */
  #lackOf(request: EngineRequest): (Turn & { cells: number }) | undefined {
    if (request.over) return undefined
    const { prompt, cachedCells, embeddings } = request
    const lacked = prompt.spans.filter(
      ({ key, end }, index) => end > cachedCells && embeddings[index] === undefined && key !== this.#current,
    )
    const [span] = lacked
    if (span === undefined) return undefined
    return { request, span, cells: lacked.reduce((sum, { start, end }) => sum + end - start, 0) }
  }

  #lacking(key: string): EngineRequest[] {
    return this.#all().filter(({ prompt, embeddings }) =>
      prompt.spans.some((span, index) => span.key === key && embeddings[index] === undefined),
    )
  }

  #giveCached(): void {
    // Spans in a cached prefix too: the payload can go, and the prefix may yet be evicted and have to be computed.
    for (const request of this.#all()) give(request, ({ key }) => this.#encoder.cached(key), this.#letGo)
  }

  readonly #letGo = (request: EngineRequest, span: AttachmentSpan): void => {
    this.#encoder.letGo(span)
    this.#source.letGo(request.id, span)
  }

  #all(): EngineRequest[] {
    const { running, next } = this.#candidates()
    return [...running, ...next].filter(({ over }) => !over)
  }
}

/** @param complete called for every attachment that has all of its embeddings now */
function give(
  request: EngineRequest,
  embeddingsOf: (span: AttachmentSpan) => Float32Array | undefined,
  complete: (request: EngineRequest, span: AttachmentSpan) => void,
): void {
  const { embeddings, prompt } = request
  const given = prompt.spans.filter((span, index) => {
    if (embeddings[index] !== undefined) return false
    embeddings[index] = embeddingsOf(span)
    return embeddings[index] !== undefined
  })
  if (given.length === 0) return
  const lacked = new Set(prompt.spans.flatMap(({ attachment }, index) => (embeddings[index] ? [] : attachment.hash)))
  const attachments = new Map(given.map((span) => [span.attachment.hash, span]))
  for (const [hash, span] of attachments) if (!lacked.has(hash)) complete(request, span)
}
