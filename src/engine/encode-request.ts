import { cancelled } from '../errors.ts'
import type { AttachmentSpan } from './prompt-cells.ts'

/** A request whose attachments are encoded. */
export interface Encodable {
  readonly id: number
  readonly client: string
  /** Requests with equal keys may wait for each other's pixels. */
  readonly spec: { readonly cacheKey: string }
  readonly prompt: { readonly spans: readonly AttachmentSpan[] }
  /** Cells at the start of the prompt that are cached: spans in them need no embeddings. */
  readonly cachedCells: number
  /** Embeddings of the prompt's spans, in their order; undefined until they are encoded. */
  readonly embeddings: (Float32Array | undefined)[]
  /** Whether it was cancelled or has failed. */
  readonly over: boolean
  failure: unknown
  /** When the first of its spans began to be encoded; 0 before. */
  encodeBegan: number
  /** Notes that a span was encoded for this request. */
  encoded(key: string, ms: number): void
}

/** A request for the embeddings of one attachment. It takes no place in the decoder. */
export class EncodeRequest implements Encodable {
  readonly id: number
  readonly client: string
  readonly spec = { cacheKey: '' }
  readonly prompt: Encodable['prompt']
  readonly cachedCells = 0
  readonly embeddings: (Float32Array | undefined)[] = []
  readonly abort = new AbortController()
  failure: unknown
  encodeBegan = 0

  constructor(id: number, client: string, spans: readonly AttachmentSpan[]) {
    this.id = id
    this.client = client
    this.prompt = { spans }
  }

  get over(): boolean {
    return this.abort.signal.aborted || this.failure !== undefined
  }

  encoded(): void {}

  /** All embeddings by their keys; undefined while one is missing. */
  complete(): Map<string, Float32Array> | undefined {
    const all = new Map<string, Float32Array>()
    for (const [index, { key }] of this.prompt.spans.entries()) {
      const embeddings = this.embeddings[index]
      if (embeddings === undefined) return undefined
      all.set(key, embeddings)
    }
    return all
  }
}

/** The requests for embeddings of an engine. They need nothing but its encoder. */
export class EncodeRequests {
  readonly #requests = new Map<number, EncodeRequest>()

  get size(): number {
    return this.#requests.size
  }

  get all(): Iterable<EncodeRequest> {
    return this.#requests.values()
  }

  add(request: EncodeRequest): void {
    this.#requests.set(request.id, request)
  }

  cancel(id: number): void {
    this.#requests.get(id)?.abort.abort()
  }

  /** Takes out those that have all of their embeddings, were cancelled or have failed. */
  *settled(): Iterable<{ id: number; embeddings: Map<string, Float32Array> } | { id: number; failure: unknown }> {
    for (const request of this.#requests.values()) {
      const { id, over, abort, failure } = request
      const embeddings = over ? undefined : request.complete()
      if (!over && embeddings === undefined) continue
      this.#requests.delete(id)
      yield embeddings === undefined
        ? { id, failure: abort.signal.aborted ? cancelled() : failure }
        : { id, embeddings }
    }
  }
}
