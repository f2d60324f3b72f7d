import type { ImageArchitecture } from '../encoders/index.ts'
import { OrielError } from '../errors.ts'
import { checkGrammar, type Decoder, jsonSchemaGrammar, type TokenSampler } from '../language/index.ts'
import type { HeaderPiece, HeaderRequest, PromptCount, PromptToken, Sampling } from './generation.ts'
import { type PromptCells, PromptLayout } from './prompt-cells.ts'
import type { EngineSettings } from './protocol.ts'
import { EngineRequest } from './sequence.ts'

/** Turns a request into sequences that can be scheduled, or refuses it. */
export class Intake {
  readonly #decoder: Decoder
  readonly #layout: PromptLayout
  readonly #settings: Pick<EngineSettings, 'maxSequences' | 'maxQueue'>

  /** @param images how images become tiles; null for a model that takes none */
  constructor(
    decoder: Decoder,
    images: ImageArchitecture | null,
    settings: Pick<EngineSettings, 'maxSequences' | 'maxQueue'>,
  ) {
    this.#decoder = decoder
    this.#layout = new PromptLayout(decoder, images)
    this.#settings = settings
  }

  /**
   * @param waiting number of requests in the queue
   * @throws OrielError `invalid` with `param` naming the field of the request, `overloaded` when the queue is full
   */
  accept(id: number, asked: HeaderRequest, waiting: number): EngineRequest {
    const spec = { ...asked, cachePrompt: asked.cachePrompt && this.#decoder.sharesPrefixes }
    const { maxSequences, maxQueue } = this.#settings
    if (waiting >= maxQueue)
      throw new OrielError(
        'overloaded',
        `The queue is full: ${maxQueue} requests are waiting. Try again in a moment.`,
        { retryAfter: 1 },
      )
    if (spec.n > maxSequences)
      throw new OrielError('invalid', `n is ${spec.n}; the maximum is ${maxSequences}.`, { param: 'n' })
    const prompt = this.#layout.layout(spec.prompt, spec.cacheKey)
    const room = this.#decoder.contextTokens - prompt.cells.length
    const wanted = spec.maxTokens ?? room
    if (prompt.cells.length === 0) throw new OrielError('invalid', 'The prompt is empty.', { param: 'prompt' })
    if (room < 1 || (wanted > room && spec.overflow === 'error')) throw this.#overflow(prompt, spec.maxTokens)
    const shown = new Set(spec.shownTokens.flatMap((text) => [...this.#decoder.vocabulary.tokenize(text, true)]))
    return new EngineRequest(id, spec, prompt, Math.min(wanted, room), this.#samplers(spec), shown)
  }

  /** @param withTokens otherwise `tokens` is empty @throws OrielError `invalid` as `accept` does */
  count(prompt: readonly HeaderPiece[], withTokens: boolean): PromptCount {
    const { cells, imageTokens } = this.#layout.layout(prompt)
    if (!withTokens) return { promptTokens: cells.length, imageTokens, tokens: [] }
    const { vocabulary } = this.#decoder
    // One object for each distinct token: running answers wait meanwhile, and a repeated object crosses to the parent
    // as a reference.
    const known = new Map<number, PromptToken>()
    const tokenOf = (id: number): PromptToken => {
      const token = known.get(id) ?? { id, bytes: vocabulary.bytes(id, true) }
      known.set(id, token)
      return token
    }
    return { promptTokens: cells.length, imageTokens, tokens: Array.from(cells, (id) => (id < 0 ? null : tokenOf(id))) }
  }

  #samplers({ n, ignoreEos, sampling }: HeaderRequest): TokenSampler[] {
    const { endTokens, size } = this.#decoder.vocabulary
    const barred = ignoreEos ? endTokens.map((token) => ({ token, bias: -Infinity })) : []
    const logitBias = [...sampling.logitBias.filter(({ token }) => token < size), ...barred]
    const grammar = sampling.grammar === null ? null : gbnfOf(sampling.grammar)
    const samplers: TokenSampler[] = []
    try {
      for (let choice = 0; choice < n; choice++) {
        // llama.cpp reads the largest 32-bit number as "any seed".
        const seed = sampling.seed === null ? null : (sampling.seed + choice) % 0xffffffff
        samplers.push(this.#decoder.newSampler({ ...sampling, seed, logitBias, grammar }))
      }
      return samplers
    } catch (error) {
      for (const sampler of samplers) sampler.free()
      throw error
    }
  }

  #overflow({ cells, imageTokens }: PromptCells, maxTokens: number | null): OrielError {
    const ofImages = imageTokens.reduce((sum, tokens) => sum + tokens, 0)
    const images = imageTokens.length === 1 ? '1 image' : `${imageTokens.length} images`
    const parts = imageTokens.length === 0 ? '' : ` (${cells.length - ofImages} of text and ${ofImages} of ${images})`
    const answer = maxTokens === null ? '' : `, and the answer may have ${maxTokens}`
    return new OrielError(
      'invalid',
      `This model's context holds ${this.#decoder.contextTokens} tokens. The prompt has ${cells.length}${parts}${answer}.`,
      { param: 'prompt', code: 'context_length_exceeded' },
    )
  }
}

function gbnfOf(grammar: NonNullable<Sampling['grammar']>): string {
  const text = grammar.kind === 'gbnf' ? grammar.text : jsonSchemaGrammar(grammar.schema)
  checkGrammar(text)
  return text
}
