import { LRUCache } from 'lru-cache'
import { type ImageArchitecture, type ImagePlan, planWithin, type Tile } from '../encoders/index.ts'
import { OrielError } from '../errors.ts'
import type { Decoder, Vocabulary } from '../language/index.ts'
import type { Slices } from '../slices.ts'
import type { AttachmentHeader, HeaderPiece } from './generation.ts'
import { Positions } from './positions.ts'

/** The cells of a prompt that one run of an encoder fills: one tile of an image. */
export interface AttachmentSpan {
  attachment: AttachmentHeader
  /** The attachment's index among those of the prompt. */
  place: number
  plan: ImagePlan
  tile: Tile
  /** Names the span's embeddings: equal keys have equal embeddings. */
  key: string
  /** Whether the embeddings attend to each other in both directions, so that one batch must hold all of them. */
  mutual: boolean
  /** Its first cell, and the cell after its last. */
  start: number
  end: number
}

/** A prompt as the KV memory sees it: one cell for each token or embedding. */
export interface PromptCells {
  /**
   * A token's id, or a negative number for an embedding: equal cells hold equal input. The negative numbers are never
   * reused, and 32 bits would last a busy server only hours, so cells are doubles.
   */
  cells: Float64Array
  spans: readonly AttachmentSpan[]
  positions: Positions
  /** Points where the state of a hybrid decoder is worth keeping, in their order. None for other decoders. */
  stops: readonly number[]
  /** Tokens of each image, including the marks that the model's format puts around it. */
  imageTokens: readonly number[]
}

/** Turns prompts into cells. Each distinct span gets a range of negative numbers of its own. */
export class PromptLayout {
  readonly #decoder: Decoder
  readonly #images: ImageArchitecture | null
  /** The first number of each span's range, by the span's key. */
  readonly #ranges = new LRUCache<string, number>({ max: rangesKept })
  readonly #marks = new Map<string, readonly number[]>()
  #next = -1

  constructor(decoder: Decoder, images: ImageArchitecture | null) {
    this.#decoder = decoder
    this.#images = images
  }

  /** The same images have other embeddings from now on: what was computed with those of before is never found again. */
  forgetImages(): void {
    this.#ranges.clear()
  }

  /**
   * Reads a prompt in slices, since a long text takes long.
   * @param cacheKey the isolation key: requests with another key share neither the KV nor the embeddings of attachments,
   * since the time to the first token would reveal them
   * @throws OrielError `invalid`, `param` `prompt`, for a text that cannot fit the context or an image that the model
   * does not take
   */
  *layout(pieces: readonly HeaderPiece[], cacheKey = ''): Slices<PromptCells> {
    const { vocabulary, contextTokens } = this.#decoder
    // Tokenizing a long text takes seconds, so a text that cannot fit is refused before it.
    const bytes = pieces.reduce((sum, piece) => sum + (piece.kind === 'text' ? Buffer.byteLength(piece.text) : 0), 0)
    if (bytes > contextTokens * vocabulary.longest)
      throw tooLong(
        `This model's context holds ${contextTokens} tokens of at most ${vocabulary.longest} bytes each, and the prompt has ${bytes} bytes of text.`,
      )
    const writer = new CellWriter(vocabulary)
    if (vocabulary.addsBos && !startsWithBos(pieces, vocabulary)) writer.tokens([vocabulary.bosToken])
    const spans: AttachmentSpan[] = []
    const imageTokens: number[] = []
    for (const piece of pieces) {
      if (piece.kind === 'text') {
        yield* writer.text(piece.text, piece.special)
        continue
      }
      yield* writer.flush()
      if (piece.kind === 'tokens') writer.tokens(piece.tokens)
      else imageTokens.push(this.#writeImage(writer, piece, imageTokens.length, cacheKey, spans))
    }
    yield* writer.flush()
    const cells = writer.finish()
    const stops = this.#decoder.stateful ? stopsOf(cells, spans, vocabulary.endTokens) : []
    return { cells, spans, positions: this.#positions(spans), stops, imageTokens }
  }

  /** @returns the number of cells that the image takes */
  #writeImage(
    writer: CellWriter,
    image: AttachmentHeader,
    place: number,
    cacheKey: string,
    spans: AttachmentSpan[],
  ): number {
    if (this.#images === null)
      throw new OrielError('invalid', 'This model does not take images.', {
        param: 'prompt',
        code: 'image_not_supported',
      })
    const plan = planWithin(this.#images, { width: image.width, height: image.height }, image.detail, image.bounds)
    const mutual = this.#images.atOnce !== undefined
    let tokens = 0
    for (const part of plan.layout) {
      if (typeof part === 'string') {
        const mark = this.#markOf(part)
        writer.tokens(mark)
        tokens += mark.length
        continue
      }
      const key = [image.hash, plan.name, plan.layout.indexOf(part), cacheKey].join('\n')
      const start = writer.embeddings(this.#range(key, part.tokens), part.tokens)
      spans.push({ attachment: image, place, plan, tile: part, key, mutual, start, end: start + part.tokens })
      tokens += part.tokens
    }
    return tokens
  }

  /** Tokens of a mark around tiles. As in llama.cpp, a token whose text is exactly the mark is preferred. */
  #markOf(text: string): readonly number[] {
    const known = this.#marks.get(text)
    if (known !== undefined) return known
    const other = this.#images?.otherMarks?.[text]
    const exact = (other === undefined ? undefined : this.#tokenOf(other)) ?? this.#tokenOf(text)
    const mark = exact === undefined ? [...this.#decoder.vocabulary.tokenize(text, true)] : [exact]
    this.#marks.set(text, mark)
    return mark
  }

  /** The token whose text is exactly this. Some vocabularies put a space before all text: a line break would become two. */
  #tokenOf(text: string): number | undefined {
    const { vocabulary } = this.#decoder
    const tokens = [...vocabulary.tokenize(text, true)]
    return tokens.find((token) => Buffer.from(vocabulary.bytes(token, true)).toString() === text)
  }

  #positions(spans: readonly AttachmentSpan[]): Positions {
    if (!this.#decoder.gridPositions) return new Positions([])
    return new Positions(
      spans.flatMap(({ start, end, tile: { places: grid, xd } }, image) =>
        grid === undefined ? [] : { start, end, grid, ...(xd && { image }) },
      ),
    )
  }

  /** The first of the numbers that stand for a span's embeddings. */
  #range(key: string, tokens: number): number {
    const known = this.#ranges.get(key)
    if (known !== undefined) return known
    const first = this.#next
    this.#next -= tokens
    this.#ranges.set(key, first)
    return first
  }
}

/** Each state takes megabytes. */
const mostStops = 8

/**
 * The ends of images and of turns: another prompt with the same beginning most often goes on at one of them. The first of
 * them, which mostly is the end of a system prompt, and the last.
 */
function stopsOf(cells: Float64Array, spans: readonly AttachmentSpan[], endTokens: readonly number[]): number[] {
  const isEnd = new Set(endTokens)
  const images = spans.filter(({ place }, index) => spans[index + 1]?.place !== place).map(({ end }) => end)
  const turns = Array.from(cells, (cell, at) => (isEnd.has(cell) ? at + 1 : 0))
  const all = [...new Set([...images, ...turns])].filter((at) => at > 0 && at < cells.length).sort((a, b) => a - b)
  return all.length <= mostStops ? all : [...all.slice(0, 1), ...all.slice(1 - mostStops)]
}

export const tooLong = (message: string): OrielError =>
  new OrielError('invalid', message, { param: 'prompt', code: 'context_length_exceeded' })

/** Spans whose ranges are remembered. When one is forgotten, its cached prefixes are no longer found. */
const rangesKept = 65536

/** Collects cells in the order of the prompt. */
class CellWriter {
  readonly #vocabulary: Vocabulary
  readonly #cells: number[] = []
  /** Adjacent texts are tokenized together, or a word that crosses a border would become other tokens. */
  #pending = { special: true, text: '' }

  constructor(vocabulary: Vocabulary) {
    this.#vocabulary = vocabulary
  }

  *text(text: string, special: boolean): Slices<void> {
    if (text === '') return
    if (special !== this.#pending.special) yield* this.flush()
    this.#pending = { special, text: this.#pending.text + text }
  }

  /** To be called after `flush`. */
  tokens(tokens: readonly number[]): void {
    for (const token of tokens) this.#cells.push(token)
  }

  /** To be called after `flush`. @param first the first number of the span's range @returns the span's first cell */
  embeddings(first: number, count: number): number {
    const start = this.#cells.length
    for (let place = 0; place < count; place++) this.#cells.push(first - place)
    return start
  }

  /** Makes cells of the text before. */
  *flush(): Slices<void> {
    const { text, special } = this.#pending
    if (text === '') return
    this.#pending = { special: true, text: '' }
    for (const tokens of this.#vocabulary.tokenizing(text, special)) {
      for (const token of tokens) this.#cells.push(token)
      yield
    }
  }

  /** To be called after `flush`. */
  finish(): Float64Array {
    return Float64Array.from(this.#cells)
  }
}

function startsWithBos(pieces: readonly HeaderPiece[], { bos, bosToken }: Vocabulary): boolean {
  const first = pieces[0]
  if (first?.kind === 'tokens') return first.tokens[0] === bosToken
  return bos !== '' && first?.kind === 'text' && first.special && first.text.startsWith(bos)
}
