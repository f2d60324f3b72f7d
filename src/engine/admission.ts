import type { EngineConfig } from '../config.ts'
import type { ImageArchitecture } from '../encoders/index.ts'
import { OrielError } from '../errors.ts'
import { checkGrammar, type Decoder, jsonSchemaGrammar, type TokenSampler } from '../language/index.ts'
import type { GenerateRequest, PromptCount, PromptPiece, PromptToken, Sampling } from './generation.ts'
import { type PromptCells, PromptLayout } from './prompt-cells.ts'
import { EngineRequest } from './sequence.ts'

/** Turns what is asked into what can be run, or says why it cannot. */
export class Admission {
  readonly #decoder: Decoder
  readonly #layout: PromptLayout
  readonly #config: EngineConfig

  constructor(decoder: Decoder, architecture: ImageArchitecture | null, config: EngineConfig) {
    this.#decoder = decoder
    this.#layout = new PromptLayout(decoder, architecture)
    this.#config = config
  }

  /**
   * @param waiting requests that wait already
   * @throws OrielError `invalid` for what cannot be run, `overloaded` when too many wait
   */
  accept(id: number, asked: GenerateRequest, waiting: number): EngineRequest {
    const spec = { ...asked, cachePrompt: asked.cachePrompt && this.#decoder.sharesPrefixes }
    const { maxSequences, maxQueue } = this.#config
    if (waiting >= maxQueue)
      throw new OrielError('overloaded', `${maxQueue} requests are waiting already; try again in a moment.`, {
        retryAfter: 1,
      })
    if (spec.n > maxSequences)
      throw new OrielError('invalid', `n is ${spec.n}, but at most ${maxSequences} answers can be made at once.`, {
        param: 'n',
      })
    const prompt = this.#layout.layout(spec.prompt, spec.cacheKey)
    const room = this.#decoder.contextTokens - prompt.cells.length
    const wanted = spec.maxTokens ?? room
    if (prompt.cells.length === 0) throw new OrielError('invalid', 'The prompt is empty.', { param: 'messages' })
    if (room < 1 || (wanted > room && spec.overflow === 'error')) throw this.#overflow(prompt, spec.maxTokens)
    const shown = new Set(spec.shownTokens.flatMap((text) => [...this.#decoder.vocabulary.tokenize(text, true)]))
    return new EngineRequest(id, spec, prompt, Math.min(wanted, room), this.#samplers(spec), shown)
  }

  count(prompt: readonly PromptPiece[]): PromptCount {
    const { cells, imageTokens } = this.#layout.layout(prompt)
    const { vocabulary } = this.#decoder
    // One object for each token: running answers wait while it is made, and what comes again crosses to the parent as its number.
    const known = new Map<number, PromptToken>()
    const tokenOf = (id: number): PromptToken => {
      const token = known.get(id) ?? { id, bytes: vocabulary.bytes(id, true) }
      known.set(id, token)
      return token
    }
    return { promptTokens: cells.length, imageTokens, tokens: Array.from(cells, (id) => (id < 0 ? null : tokenOf(id))) }
  }

  #samplers({ n, ignoreEos, sampling }: GenerateRequest): TokenSampler[] {
    const { endTokens, size } = this.#decoder.vocabulary
    const barred = ignoreEos ? endTokens.map((token) => ({ token, bias: -Infinity })) : []
    const logitBias = [...sampling.logitBias.filter(({ token }) => token < size), ...barred]
    const grammar = sampling.grammar === null ? null : gbnfOf(sampling.grammar)
    const samplers: TokenSampler[] = []
    try {
      for (let choice = 0; choice < n; choice++) {
        // The largest of 32 bits is llama.cpp's word for any seed.
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
    const pictures = imageTokens.reduce((sum, tokens) => sum + tokens, 0)
    const named = imageTokens.length === 1 ? 'a picture' : `${imageTokens.length} pictures`
    const parts = imageTokens.length === 0 ? '' : ` (${cells.length - pictures} of text and ${pictures} of ${named})`
    const answer = maxTokens === null ? '' : `, and ${maxTokens} more are asked for`
    return new OrielError(
      'invalid',
      `This model's context holds ${this.#decoder.contextTokens} tokens. The prompt has ${cells.length}${parts}${answer}.`,
      { param: 'messages', code: 'context_length_exceeded' },
    )
  }
}

function gbnfOf(grammar: NonNullable<Sampling['grammar']>): string {
  const text = grammar.kind === 'gbnf' ? grammar.text : jsonSchemaGrammar(grammar.schema)
  checkGrammar(text)
  return text
}
