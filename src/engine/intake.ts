import { LRUCache } from 'lru-cache'
import { OrielError } from '../errors.ts'
import {
  type Decoder,
  type Grammar,
  type TokenSampler,
  type UsedAdapter,
  type WrittenGrammar,
  writeGrammar,
} from '../language/index.ts'
import type { Slices } from '../slices.ts'
import { EncodeRequest } from './encode-request.ts'
import type { HeaderEncoding, HeaderFitting, HeaderPiece, HeaderRequest, PromptInputs } from './generation.ts'
import type { LoadedAdapters } from './loaded-adapters.ts'
import { type PackedCount, packTokens } from './packed-tokens.ts'
import { type Architectures, type PromptCells, PromptLayout, tooLong } from './prompt-cells.ts'
import type { EngineSettings } from './protocol.ts'
import { EngineRequest } from './sequence.ts'

export type Intake = ReturnType<typeof createIntake>

/**
 * Turns requests into sequences that can be scheduled, or refuses them.
 */
export function createIntake(
  decoder: Decoder,
  architectures: Architectures,
  { maxSequences }: Pick<EngineSettings, 'maxSequences'>,
  adapters: Pick<LoadedAdapters, 'of' | 'isComing'>,
) {
  const layout = new PromptLayout(decoder, architectures)
  const { vocabulary, contextTokens } = decoder
  const grammarOf = rememberedGrammars()
  /** After a restart requests come together with their adapters. */
  function* adapterOf({ adapterKey, adapter: asked }: HeaderRequest): Slices<UsedAdapter | null> {
    if (adapterKey === undefined || asked === undefined) return null
    while (adapters.isComing(adapterKey)) yield
    const adapter = adapters.of(adapterKey)
    return adapter && { adapter, scale: asked.scale }
  }
  return {
    forgetEmbeddings: () => layout.forgetEmbeddings(),

    /**
     * Reads a request piece by piece, since a long prompt and a large grammar take long.
     * @throws OrielError `invalid` with `param` naming the field of the request
     */
    *accept(id: number, spec: HeaderRequest): Slices<EngineRequest> {
      if (spec.n > maxSequences)
        throw new OrielError(
          'invalid',
          `This model generates at most ${maxSequences} answers to a prompt; found ${spec.n}.`,
          { param: 'n', code: 'invalid_value' },
        )
      const prompt = yield* layout.layout(spec.prompt, spec.cacheKey, spec.visionAdapter)
      const adapter = yield* adapterOf(spec)
      if (prompt.cells.length === 0)
        throw new OrielError('invalid', 'The prompt is empty.', { param: 'prompt', code: 'invalid_value' })
      const maxTokens = answerSpace(prompt, contextTokens, spec)
      const shown = new Set(spec.shownTokens.flatMap((text) => [...vocabulary.tokenize(text, true)]))
      if (spec.sampling.grammar !== null) yield
      const written = spec.sampling.grammar === null ? null : grammarOf(spec.sampling.grammar)
      if (written !== null) yield* decoder.readGrammar({ ...spec.sampling, grammar: written.grammar })
      const samplers = samplersOf(decoder, spec, written?.grammar ?? null, shown)
      const request = new EngineRequest(id, spec, prompt, maxTokens, samplers, shown, adapter)
      request.ignored = written?.ignored ?? []
      return request
    },

    /** @throws OrielError `invalid` as `accept` does if the prompt and its answer do not fit the context */
    *fit({ prompt, ...answer }: HeaderFitting): Slices<null> {
      answerSpace(yield* layout.layout(prompt), contextTokens, answer)
      return null
    },

    /** Infinite for a text that cannot fit the context. @throws OrielError `invalid` as `accept` does */
    *lengths(prompts: readonly (readonly HeaderPiece[])[]): Slices<number[]> {
      const lengths: number[] = []
      for (const prompt of prompts) {
        lengths.push(layout.mayFit(prompt) ? (yield* layout.layout(prompt)).cells.length : Number.POSITIVE_INFINITY)
        yield
      }
      return lengths
    },

    /** @throws OrielError `invalid` for an attachment that the model does not take */
    *inputs(prompt: readonly HeaderPiece[], most: number): Slices<PromptInputs> {
      return inputsOf(yield* layout.start(prompt, most), most, decoder.gridPositions)
    },

    /** @throws OrielError `invalid` as `inputs` does */
    *encode(id: number, { prompt, client }: HeaderEncoding): Slices<EncodeRequest> {
      const { spans } = yield* layout.start(prompt, Number.POSITIVE_INFINITY)
      return new EncodeRequest(id, client, spans)
    },

    /** @throws OrielError `invalid` as `accept` does */
    *count(prompt: readonly HeaderPiece[]): Slices<PackedCount> {
      const { cells, attachmentTokens, spans } = yield* layout.layout(prompt)
      const tokens = yield* packTokens(cells, (id) => vocabulary.bytes(id, true))
      const places = spans.map(({ place, start, end }) => ({ place, start, end }))
      return { promptTokens: cells.length, attachmentTokens, tokens, spans: places }
    },
  }
}

/** @param most cells; later ones are left out */
function inputsOf(
  { cells, spans, positions, attachmentTokens }: PromptCells,
  most: number,
  grids: boolean,
): PromptInputs {
  const count = Math.min(cells.length, most)
  const places = new Int32Array((grids ? 4 : 1) * count)
  for (let cell = 0; cell < count; cell++) {
    const { time, row, column, image } = positions.place(cell)
    places[cell] = time
    if (!grids) continue
    places[count + cell] = row
    places[2 * count + cell] = column
    places[3 * count + cell] = image
  }
  return {
    tokens: Int32Array.from(cells.subarray(0, count), (cell) => Math.max(-1, cell)),
    positions: places,
    spans: spans.filter(({ start }) => start < count).map(({ key, place, start, end }) => ({ key, place, start, end })),
    attachmentTokens,
    cut: cells.length > count,
  }
}

/** Writes grammars, and remembers the last ones: an application's requests mostly have the same tools or schema. */
function rememberedGrammars(): typeof writeGrammar {
  const known = new LRUCache<string, WrittenGrammar>({
    maxSize: mostRemembered,
    sizeCalculation: ({ grammar }, key) => 2 * (key.length + grammar.text.length),
  })
  return (source) => {
    // It is as it is written.
    if (source.kind === 'gbnf') return writeGrammar(source)
    const key = JSON.stringify(source)
    const remembered = known.get(key)
    if (remembered !== undefined) return remembered
    const written = writeGrammar(source)
    known.set(key, written)
    return written
  }
}

/** Bytes of grammars that are remembered, with the schemas that they are of. */
const mostRemembered = 16e6

function samplersOf(
  decoder: Decoder,
  { n, ignoreEos, sampling }: HeaderRequest,
  grammar: Grammar | null,
  shownTokens: ReadonlySet<number>,
): TokenSampler[] {
  const { endTokens, size } = decoder.vocabulary
  const barred = ignoreEos ? endTokens.map((token) => ({ token, bias: -Infinity })) : []
  const logitBias = [...sampling.logitBias.filter(({ token }) => token < size), ...barred]
  const samplers: TokenSampler[] = []
  try {
    for (let choice = 0; choice < n; choice++) {
      // llama.cpp reads the largest 32-bit number as "any seed".
      const seed = sampling.seed === null ? null : (sampling.seed + choice) % 0xffffffff
      samplers.push(decoder.newSampler({ ...sampling, seed, logitBias, grammar, shownTokens }))
    }
    return samplers
  } catch (error) {
    for (const sampler of samplers) sampler.free()
    throw error
  }
}

/** Tokens that an answer may have. @throws OrielError `invalid` */
function answerSpace(
  prompt: PromptCells,
  contextTokens: number,
  { maxTokens, overflow }: Pick<HeaderRequest, 'maxTokens' | 'overflow'>,
): number {
  const space = contextTokens - prompt.cells.length
  const wanted = maxTokens ?? space
  if (space < 1 || (wanted > space && overflow === 'error')) throw beyondContext(prompt, contextTokens, maxTokens)
  return Math.min(wanted, space)
}

function beyondContext(prompt: PromptCells, contextTokens: number, maxTokens: number | null): OrielError {
  const { cells, attachmentTokens } = prompt
  const ofOthers = attachmentTokens.reduce((sum, tokens) => sum + tokens, 0)
  const parts =
    attachmentTokens.length === 0 ? '' : ` (${cells.length - ofOthers} of text and ${ofOthers} of ${othersIn(prompt)})`
  const space = contextTokens - cells.length
  const answer =
    maxTokens === null || space < 1 ? '' : `, and the answer may have ${maxTokens}; at most ${space} would fit`
  return tooLong(`This model's context holds ${contextTokens} tokens. The prompt has ${cells.length}${parts}${answer}.`)
}

/** What a prompt has beside text: `1 image`, `60 frames and 1 sound`. */
function othersIn({ spans }: PromptCells): string {
  const counts = new Map<string, number>()
  for (const [index, { attachment, place }] of spans.entries()) {
    if (spans[index - 1]?.place === place) continue
    const noun = attachment.kind === 'audio' ? 'sound' : attachment.frames === undefined ? 'image' : 'frame'
    counts.set(noun, (counts.get(noun) ?? 0) + (attachment.kind === 'image' ? (attachment.frames ?? 1) : 1))
  }
  return [...counts].map(([noun, count]) => `${count} ${noun}${count === 1 ? '' : 's'}`).join(' and ')
}
