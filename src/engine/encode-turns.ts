import type { Costs } from '../fairness.ts'
import type { Encodable } from './encode-request.ts'
import type { AttachmentEncoder } from './encoder.ts'
import type { AttachmentSpan } from './prompt-cells.ts'

/** The bytes of an attachment; `decoded`, if they can be had only then; undefined if the request is over. */
export type Payload = Uint8Array | { readonly decoded: Promise<void> } | undefined

/** Where the bytes of an attachment are until it is encoded. */
export interface PayloadSource {
  payload(id: number, span: AttachmentSpan): Promise<Payload>
  /** All embeddings of the attachment are present: the request will not ask for its payload again. */
  letGo(id: number, span: AttachmentSpan): void
}

/** Requests whose attachments are encoded. */
export interface Candidates {
  /** Admitted requests, the oldest first. */
  running: readonly Encodable[]
  /** Waiting requests in the order of the queue. Their attachments are encoded when no running request lacks one. */
  next: readonly Encodable[]
}

interface Turn {
  request: Encodable
  span: AttachmentSpan
}

/** An attachment that was known by its bytes, so that its pixels or samples are decoded only now. */
interface Decoding {
  /** The request whose file is decoded. */
  readonly request: Encodable
  /** Whether they can be had. */
  done: boolean
}

/**
 * Chooses which span is encoded next. Clients take turns. Of one client's requests the oldest and the one that lacks the
 * fewest cells take turns: few attachments need not wait for many, and many are not delayed without end by few that keep coming.
 * A span that several requests lack is encoded once for all of them. Nobody waits for an attachment that is being decoded, except
 * the requests of its own client that have it.
 */
export class EncodeTurns {
  readonly #encoder: AttachmentEncoder
  readonly #source: PayloadSource
  readonly #candidates: () => Candidates
  readonly #costs: Costs
  readonly #changed: () => void
  #going = false
  #last: Encodable | undefined
  /** The key of the span that is being encoded. */
  #current = ''
  /** The payload of the attachment that is probably next. */
  #ahead: { hash: string; payload: Promise<Payload> } | undefined
  /** The request whose sound is being heard. Others' parts come between, but no other sound is begun. */
  #hearing: { request: Encodable; hash: string } | undefined
  /** What spans wait for, whose adapter's encoder is being opened. */
  readonly #opening = new Set<Promise<void>>()
  /** By client and attachment. */
  readonly #decoding = new Map<string, Decoding>()

  /** @param changed called when a request has received embeddings or has failed */
  constructor(
    encoder: AttachmentEncoder,
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

  /** Whether a part is being encoded. When it is over, `changed` is called. */
  get encoding(): boolean {
    return this.#current !== ''
  }

  /** Gives the candidates what is cached and encodes the rest. To be called whenever the candidates change. */
  wake(): void {
    for (const [name, { request }] of this.#decoding) if (request.over) this.#decoding.delete(name)
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
    if (payload === undefined || isDecoding(payload)) return
    this.#current = key
    const encoding = this.#encoder.encode(span, payload)
    this.#fetchAhead()
    try {
      const { embeddings, ms: encodeMs, preparingMs } = await encoding
      const ms = encodeMs + preparingMs
      this.#costs.charge(request.client, ms)
      if (embeddings === null) this.#hearing = { request, hash: span.attachment.hash }
      else this.#heard(span)
      for (const other of this.#lacking(key)) {
        other.encodeBegan ||= performance.now() - ms
        other.encoded(key, ms)
        if (embeddings !== null) give(other, (lacked) => (lacked.key === key ? embeddings : undefined), this.#letGo)
      }
    } catch (error) {
      this.#heard(span)
      for (const other of this.#lacking(key)) other.failure ??= error
    }
    this.#current = ''
    this.#changed()
  }

  #payload(turn: Turn): Promise<Payload> {
    const ahead = this.#ahead
    if (ahead?.hash !== turn.span.attachment.hash) return this.#fetch(turn)
    this.#ahead = undefined
    return ahead.payload
  }

  async #fetch({ request, span }: Turn): Promise<Payload> {
    const name = nameOf(request, span)
    const decoded = this.#decoding.get(name)
    const from = decoded === undefined || decoded.request.over ? request : decoded.request
    const payload = await this.#source.payload(from.id, span)
    if (isDecoding(payload)) {
      const decoding = { request: from, done: false }
      this.#decoding.set(name, decoding)
      void payload.decoded.then(() => {
        decoding.done = true
        this.wake()
      })
    }
    return payload
  }

  /** The next payload crosses from the parent while the span before it is encoded. */
  #fetchAhead(): void {
    const next = this.#choose()
    if (next === undefined || this.#encoder.has(next.span)) return
    const { hash } = next.span.attachment
    if (this.#ahead?.hash !== hash) this.#ahead = { hash, payload: this.#fetch(next) }
  }

  #choose(): Turn | undefined {
    const { running, next } = this.#candidates()
    if (!this.#isHearing()) this.#hearing = undefined
    const lacks = running.flatMap((request) => this.#lackOf(request) ?? [])
    const [[oldest, ...others] = []] = this.#costs.inTurn(lacks, ({ request }) => request.client)
    if (oldest === undefined) return next.map((request) => this.#lackOf(request)).find((lack) => lack !== undefined)
    if (oldest.request !== this.#last) return oldest
    return others.reduce((least, lack) => (lack.cells < least.cells ? lack : least), oldest)
  }

  /** @returns the first span whose embeddings a request needs and lacks, and the number of cells that it lacks in all */
  #lackOf(request: Encodable): (Turn & { cells: number }) | undefined {
    if (request.over) return undefined
    const { prompt, cachedCells, embeddings } = request
    const lacked = prompt.spans.filter(
      (span, index) =>
        span.end > cachedCells &&
        embeddings[index] === undefined &&
        span.key !== this.#current &&
        !this.#waitsForHearing(span) &&
        !this.#isComing(request, span) &&
        !this.#isOpening(span),
    )
    const [span] = lacked
    if (span === undefined) return undefined
    return { request, span, cells: lacked.reduce((sum, { start, end }) => sum + end - start, 0) }
  }

  /** Whether its pixels are being decoded. */
  #isComing(request: Encodable, span: AttachmentSpan): boolean {
    const decoding = this.#decoding.get(nameOf(request, span))
    return decoding !== undefined && !decoding.done && !decoding.request.over && !this.#encoder.has(span)
  }

  /** Whether its encoder is being opened. */
  #isOpening(span: AttachmentSpan): boolean {
    const opening = this.#encoder.opening(span)
    if (opening === null) return false
    if (!this.#opening.has(opening)) {
      this.#opening.add(opening)
      void opening.then(() => {
        this.#opening.delete(opening)
        this.wake()
      })
    }
    return true
  }

  #heard({ attachment }: AttachmentSpan): void {
    if (this.#hearing?.hash === attachment.hash) this.#hearing = undefined
  }

  /** Whether the sound that is being heard is still needed. */
  #isHearing(): boolean {
    const { request, hash } = this.#hearing ?? {}
    if (request === undefined || !this.#all().includes(request)) return false
    const { prompt, embeddings, cachedCells } = request
    return prompt.spans.some(
      ({ attachment, end }, index) => attachment.hash === hash && end > cachedCells && embeddings[index] === undefined,
    )
  }

  #waitsForHearing(span: AttachmentSpan): boolean {
    if (span.kind !== 'audio' || this.#hearing === undefined) return false
    return span.attachment.hash !== this.#hearing.hash && !this.#encoder.has(span)
  }

  #lacking(key: string): Encodable[] {
    return this.#all().filter(({ prompt, embeddings }) =>
      prompt.spans.some((span, index) => span.key === key && embeddings[index] === undefined),
    )
  }

  #giveCached(): void {
    // Spans in a cached prefix too: the payload can go, and the prefix may yet be evicted and have to be computed.
    for (const request of this.#all()) give(request, ({ key }) => this.#encoder.cached(key), this.#letGo)
  }

  readonly #letGo = (request: Encodable, span: AttachmentSpan): void => {
    const name = nameOf(request, span)
    if (this.#decoding.get(name)?.request === request) this.#decoding.delete(name)
    this.#encoder.letGo(span)
    this.#source.letGo(request.id, span)
  }

  #all(): Encodable[] {
    const { running, next } = this.#candidates()
    return [...running, ...next].filter(({ over }) => !over)
  }
}

const isDecoding = (payload: Payload | null): payload is { readonly decoded: Promise<void> } =>
  payload != null && 'decoded' in payload

/** Of an image and who may wait for it: others would wait for a decoder that is busy with files of that client. */
const nameOf = ({ client, spec }: Encodable, { attachment }: AttachmentSpan): string =>
  JSON.stringify([client, spec.cacheKey, attachment.hash])

/** @param complete called for every attachment that has all of its embeddings now */
function give(
  request: Encodable,
  embeddingsOf: (span: AttachmentSpan) => Float32Array | undefined,
  complete: (request: Encodable, span: AttachmentSpan) => void,
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
