import { seenSize } from '../encoders/index.ts'
import type { SchemaPath, TokenSampler, UsedAdapter } from '../language/index.ts'
import { AnswerText } from './answer-text.ts'
import type { AnswerToken, AttachmentWork, HeaderRequest, Timings } from './generation.ts'
import type { AttachmentSpan, PromptCells } from './prompt-cells.ts'

/** A request in the scheduler: one prompt and one sequence for each answer. */
export class EngineRequest {
  readonly id: number
  readonly spec: HeaderRequest
  readonly prompt: PromptCells
  /** What it is computed with; null: the model alone. */
  readonly adapter: UsedAdapter | null
  /** The number of cells at the start that the model alone computes, whose prefixes are everybody's. */
  readonly plainCells: number
  readonly maxTokens: number
  /** Ids of control tokens that appear in the text. */
  readonly shownTokens: ReadonlySet<number>
  readonly arrived = performance.now()
  readonly abort = new AbortController()
  /** Embeddings of the prompt's spans, in their order; undefined until they are encoded. */
  readonly embeddings: (Float32Array | undefined)[] = []
  /** Cells at the start of the prompt that are cached: spans in them need no embeddings. */
  cachedCells = 0
  readonly sequences: Sequence[]
  /** An error of encoding or sampling. The next step reports it and drops the request. */
  failure: unknown
  /** The first cells of the prompt, of which nothing is to be told any more: a sequence may be computed again. */
  toldCells = 0
  /** The parts of its JSON Schema that the answer does not hold to. */
  ignored: readonly SchemaPath[] = []
  /** Number of later requests that were admitted before this one. */
  overtaken = 0
  /** Whether its reader is far behind. No sequence of it is computed meanwhile. */
  paused = false
  /** Times of `performance.now()`; 0 until they are reached. */
  admitted = 0
  firstToken = 0
  encodeBegan = 0
  /** Time that each of its spans took to encode, in ms; undefined for those that were not encoded for it. */
  readonly #encodeMs: (number | undefined)[] = []

  constructor(
    id: number,
    spec: HeaderRequest,
    prompt: PromptCells,
    maxTokens: number,
    samplers: TokenSampler[],
    shownTokens: ReadonlySet<number>,
    adapter: UsedAdapter | null = null,
  ) {
    this.id = id
    this.spec = spec
    this.prompt = prompt
    const from = adapter === null ? null : beginOf(adapter, prompt.cells)
    this.adapter = from === null ? null : adapter
    this.plainCells = from ?? Number.POSITIVE_INFINITY
    this.maxTokens = maxTokens
    this.shownTokens = shownTokens
    this.sequences = samplers.map((sampler, choice) => new Sequence(this, choice, sampler))
  }

  get client(): string {
    return this.spec.client
  }

  /**
   * Names what the KV of its first cells is computed with, and who may share it: equal cells of requests with equal keys are
   * equal.
   */
  prefixKey(cells: number): string {
    const variant = cells <= this.plainCells ? '' : `${this.adapterName} ${this.plainCells}`
    return `${variant}\n${this.spec.cacheKey}`
  }

  /** Names its adapter and how strongly it is applied. It has no line feed. */
  get adapterName(): string {
    return `${this.spec.adapterKey} ${this.spec.adapter?.scale}`
  }

  /** Whether a cached prefix may be used. Log probabilities of the prompt need all of its logits. */
  get sharesPrompt(): boolean {
    return this.spec.cachePrompt && !this.spec.promptLogprobs
  }

  /** Whether log probabilities of the prompt are still to be told. */
  get tellsPrompt(): boolean {
    return this.spec.promptLogprobs && this.toldCells < this.prompt.cells.length
  }

  /** Points of the prompt, from its start, where the state of a hybrid decoder is kept for other prompts. */
  get stops(): readonly number[] {
    return this.sharesPrompt ? this.prompt.stops : []
  }

  /** Whether the request was cancelled or has failed, and the next step drops it. */
  get over(): boolean {
    return this.abort.signal.aborted || this.failure !== undefined
  }

  get finished(): boolean {
    return this.sequences.every((sequence) => sequence.ended)
  }

  /** Notes that a span was encoded for this request. Equal spans are encoded once. */
  encoded(key: string, ms: number): void {
    const span = this.prompt.spans.findIndex((one) => one.key === key)
    this.#encodeMs[span] = (this.#encodeMs[span] ?? 0) + ms
  }

  /** What was done for each attachment, in the order of the prompt. */
  works(): AttachmentWork[] {
    const { attachmentTokens, spans } = this.prompt
    // An attachment's spans follow each other.
    const firsts = spans.flatMap(({ place }, index) => (spans[index - 1]?.place === place ? [] : index))
    return attachmentTokens.map((_, place) => {
      const [from, to] = [firsts[place] ?? spans.length, firsts[place + 1]]
      return this.#workFor(spans.slice(from, to), this.#encodeMs.slice(from, to))
    })
  }

  #workFor(own: readonly AttachmentSpan[], ms: readonly (number | undefined)[]): AttachmentWork {
    const isEncoded = ms.some((one) => one !== undefined)
    const isInPrefix = own.every(({ end }) => end <= this.cachedCells)
    const cached = isEncoded ? null : isInPrefix ? 'prefix' : 'encoder'
    const tiles = own.flatMap((span) => (span.kind === 'image' ? span.tile : []))
    return tiles.length > 0
      ? { kind: 'image', seen: seenSize(tiles), tiles: tiles.length, cached, encodeMs: sum(ms) }
      : { kind: 'audio', chunks: own.length, cached, encodeMs: sum(ms) }
  }

  timings(): Timings {
    const now = performance.now()
    return {
      queue: this.admitted - this.arrived,
      encode: sum(this.#encodeMs),
      ...(this.encodeBegan > 0 && { encodeStart: Math.max(0, this.encodeBegan - this.arrived) }),
      prefill: this.firstToken - this.admitted,
      firstToken: this.firstToken - this.arrived,
      generation: now - this.firstToken,
    }
  }
}

/** One answer: a path of cells, of which the first `filled` are in the KV memory. */
export class Sequence {
  readonly request: EngineRequest
  readonly choice: number
  readonly sampler: TokenSampler
  readonly text: AnswerText
  /** Prompt and answer. The last token of a running answer is added before its KV is computed. */
  readonly cells: number[] = []
  filled = 0
  /** Its slot of the KV memory; -1 while it is not admitted. */
  slot = -1
  generated = 0
  ended = false
  /** Tokens whose text is held back as the possible start of a stop string. */
  heldTokens: AnswerToken[] = []

  constructor(request: EngineRequest, choice: number, sampler: TokenSampler) {
    this.request = request
    this.choice = choice
    this.sampler = sampler
    this.text = new AnswerText(request.spec.stop, request.spec.includeStop)
    if (choice === 0) for (const cell of request.prompt.cells) this.cells.push(cell)
  }

  /** Whether the log probability of this cell's token is requested: the row before it needs logits. */
  wantsLogprob(cell: number): boolean {
    const { prompt, toldCells } = this.request
    return this.request.tellsPrompt && cell >= toldCells && cell < prompt.cells.length && (this.cells[cell] ?? -1) >= 0
  }

  /** What its next cells are computed with. */
  get adapter(): UsedAdapter | null {
    return this.filled < this.request.plainCells ? null : this.request.adapter
  }

  /** The next point of the prompt where a step must end: the state there is to be kept, or its adapter begins. */
  get nextStop(): number {
    const { stops, plainCells } = this.request
    const stop = stops.find((stop) => stop > this.filled) ?? Number.POSITIVE_INFINITY
    return this.filled < plainCells ? Math.min(stop, plainCells) : stop
  }

  /** The last point of the prompt, `most` at most, where the state will be kept; 0 if there is none. */
  lastStop(most: number): number {
    return this.request.stops.findLast((stop) => stop > this.filled && stop <= most) ?? 0
  }

  /** Cells that must be computed before the next token can be sampled. */
  get remaining(): number {
    return this.cells.length - this.filled
  }
}

const sum = (times: readonly (number | undefined)[]): number => times.reduce<number>((all, ms) => all + (ms ?? 0), 0)

/** The cell from which on an adapter is used; null: nowhere in this prompt. */
function beginOf({ adapter: { invocation }, scale }: UsedAdapter, cells: ArrayLike<number>): number | null {
  if (scale === 0) return null
  if (invocation.length === 0) return 0
  for (let at = cells.length - invocation.length; at >= 0; at--)
    if (invocation.every((token, offset) => cells[at + offset] === token)) return at
  return null
}
