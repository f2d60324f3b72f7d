import type { PictureEncoder } from './picture-encoder.ts'
import type { PictureSpan } from './prompt-cells.ts'
import type { EngineRequest } from './sequence.ts'

/** Where a picture's pixels stay until it is encoded. */
export interface PixelSource {
  /** @returns undefined when the request is over */
  pixels(id: number, span: PictureSpan): Promise<Uint8Array | undefined>
  /** All embeddings of the picture are there: the request will never ask for its pixels again. */
  letGo(id: number, span: PictureSpan): void
}

/** Requests whose pictures are encoded. */
export interface Viewers {
  /** The oldest first. */
  running: readonly EngineRequest[]
  /** In the order in which they will run. Their pictures are encoded while nobody who runs lacks one. */
  next: readonly EngineRequest[]
}

interface Turn {
  request: EngineRequest
  span: PictureSpan
}

/**
 * Chooses whose tile is encoded next. Turns go to the oldest request and to the one that lacks the least by turns, as in a
 * step: few pictures need not wait for many, and many are not held up for ever by few that keep coming. A tile that several
 * requests lack is encoded for all of them at the first one's turn.
 */
export class PictureTurns {
  readonly #encoder: PictureEncoder
  readonly #source: PixelSource
  readonly #viewers: () => Viewers
  readonly #changed: () => void
  #going = false
  #last: EngineRequest | undefined
  /** The tile that is being encoded. */
  #current = ''
  /** Pixels of the picture that is probably next. */
  #ahead: { hash: string; rgb: Promise<Uint8Array | undefined> } | undefined

  /** @param changed told when a request has got embeddings, or has failed */
  constructor(encoder: PictureEncoder, source: PixelSource, viewers: () => Viewers, changed: () => void) {
    this.#encoder = encoder
    this.#source = source
    this.#viewers = viewers
    this.#changed = changed
  }

  /** Gives requests what is cached already, and has the rest encoded. To be called whenever the viewers are others. */
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
    const rgb = this.#encoder.has(span) ? null : await this.#pixels({ request, span })
    if (rgb === undefined) return
    this.#current = key
    const encoding = this.#encoder.encode(span, rgb)
    this.#fetchAhead()
    try {
      const { embeddings, ms } = await encoding
      for (const other of this.#lacking(key)) {
        other.encodeMs += ms
        give(other, (lacked) => (lacked.key === key ? embeddings : undefined), this.#letGo)
      }
    } catch (error) {
      for (const other of this.#lacking(key)) other.failure ??= error
    }
    this.#current = ''
    this.#changed()
  }

  #pixels({ request, span }: Turn): Promise<Uint8Array | undefined> {
    const ahead = this.#ahead
    if (ahead?.hash !== span.picture.hash) return this.#source.pixels(request.id, span)
    this.#ahead = undefined
    return ahead.rgb
  }

  /** Pixels cross from the parent while the tile before them is encoded. */
  #fetchAhead(): void {
    const next = this.#choose()
    if (next === undefined || this.#encoder.has(next.span)) return
    const { hash } = next.span.picture
    if (this.#ahead?.hash !== hash) this.#ahead = { hash, rgb: this.#source.pixels(next.request.id, next.span) }
  }

  #choose(): Turn | undefined {
    const { running, next } = this.#viewers()
    const [oldest, ...others] = running.flatMap((request) => this.#lackOf(request) ?? [])
    const chosen =
      oldest !== undefined && oldest.request === this.#last
        ? others.reduce((least, lack) => (lack.cells < least.cells ? lack : least), oldest)
        : oldest
    if (chosen !== undefined) return chosen
    for (const request of next) {
      const lack = this.#lackOf(request)
      if (lack !== undefined) return lack
    }
    return undefined
  }

  /** @returns the first tile that a request needs and lacks, and the cells of all of them */
  #lackOf(request: EngineRequest): (Turn & { cells: number }) | undefined {
    if (request.over) return undefined
    const lacked = request.prompt.spans.filter(
      ({ key, end }, index) => end > request.known && request.embeddings[index] === undefined && key !== this.#current,
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
    // Those of a known beginning too: with all embeddings at hand the pixels can go, though it may have to be computed after all.
    for (const request of this.#all()) give(request, ({ key }) => this.#encoder.cached(key), this.#letGo)
  }

  readonly #letGo = (request: EngineRequest, span: PictureSpan): void => {
    this.#encoder.letGo(span)
    this.#source.letGo(request.id, span)
  }

  #all(): EngineRequest[] {
    const { running, next } = this.#viewers()
    return [...running, ...next].filter(({ over }) => !over)
  }
}

/** @param complete told of every picture that lacks nothing any more */
function give(
  request: EngineRequest,
  embeddingsOf: (span: PictureSpan) => Float32Array | undefined,
  complete: (request: EngineRequest, span: PictureSpan) => void,
): void {
  const { embeddings, prompt } = request
  const given = prompt.spans.filter((span, index) => {
    if (embeddings[index] !== undefined) return false
    embeddings[index] = embeddingsOf(span)
    return embeddings[index] !== undefined
  })
  if (given.length === 0) return
  const lacked = new Set(prompt.spans.flatMap(({ picture }, index) => (embeddings[index] ? [] : picture.hash)))
  const pictures = new Map(given.map((span) => [span.picture.hash, span]))
  for (const [hash, span] of pictures) if (!lacked.has(hash)) complete(request, span)
}
