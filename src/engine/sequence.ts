import type { TokenSampler } from '../language/index.ts'
import { AnswerText } from './answer-text.ts'
import type { AnswerToken, GenerateRequest, Timings } from './generation.ts'
import type { PromptCells } from './prompt-cells.ts'

/** A request inside the engine: one prompt and the sequences of its answers. */
export class EngineRequest {
  readonly id: number
  readonly spec: GenerateRequest
  readonly prompt: PromptCells
  readonly maxTokens: number
  /** Ids of control tokens that show in the text. */
  readonly shownTokens: ReadonlySet<number>
  readonly arrived = performance.now()
  readonly abort = new AbortController()
  /** Embeddings of the prompt's pictures, in their order, as far as they are here. */
  readonly embeddings: (Float32Array | undefined)[] = []
  /** Cells of the prompt that need not be computed, by what is known of it: pictures in them need no embeddings. */
  known = 0
  readonly sequences: Sequence[]
  /** What failed while nobody was looking: the step loop tells the client. */
  failure: unknown
  /** Of the prompt's tokens, as far as they are computed; null: nobody wants to know. */
  readonly promptTokens: (AnswerToken | null)[] | null
  /** Requests that came later and were admitted before it. */
  overtaken = 0
  admitted = 0
  firstToken = 0
  encodeMs = 0

  constructor(
    id: number,
    spec: GenerateRequest,
    prompt: PromptCells,
    maxTokens: number,
    samplers: TokenSampler[],
    shownTokens: ReadonlySet<number>,
  ) {
    this.id = id
    this.spec = spec
    this.prompt = prompt
    this.maxTokens = maxTokens
    this.shownTokens = shownTokens
    this.promptTokens = spec.promptLogprobs ? Array.from(prompt.cells, () => null) : null
    this.sequences = samplers.map((sampler, choice) => new Sequence(this, choice, sampler))
  }

  /** Whether a prefix that is computed already may be used. */
  get sharesPrompt(): boolean {
    return this.spec.cachePrompt && !this.spec.promptLogprobs
  }

  /** Whether it was cancelled or has failed, and only waits to be dropped. */
  get over(): boolean {
    return this.abort.signal.aborted || this.failure !== undefined
  }

  get finished(): boolean {
    return this.sequences.every((sequence) => sequence.ended)
  }

  timings(): Timings {
    const now = performance.now()
    return {
      queue: this.admitted - this.arrived,
      encode: this.encodeMs,
      prefill: this.firstToken - this.admitted,
      firstToken: this.firstToken - this.arrived,
      generation: now - this.firstToken,
    }
  }
}

/** One answer in the making: a path of cells, of which the first `filled` have their KV in memory. */
export class Sequence {
  readonly request: EngineRequest
  readonly choice: number
  readonly sampler: TokenSampler
  readonly text: AnswerText
  /** Prompt and answer. A running answer's last token is here before its KV is. */
  readonly cells: number[] = []
  filled = 0
  /** Its id in the KV memory; -1 while it has none. */
  slot = -1
  generated = 0
  ended = false
  /** Tokens whose text is still held back. */
  heldTokens: AnswerToken[] = []

  constructor(request: EngineRequest, choice: number, sampler: TokenSampler) {
    this.request = request
    this.choice = choice
    this.sampler = sampler
    this.text = new AnswerText(request.spec.stop)
    if (choice === 0) for (const cell of request.prompt.cells) this.cells.push(cell)
  }

  /** Whether a cell is a token of the prompt whose chance somebody wants to know. */
  foretells(cell: number): boolean {
    const { promptTokens } = this.request
    return promptTokens !== null && cell < promptTokens.length && (this.cells[cell] ?? -1) >= 0
  }

  /** Cells that must be computed before the next token can be sampled. */
  get remaining(): number {
    return this.cells.length - this.filled
  }
}
