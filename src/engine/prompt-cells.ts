import { LRUCache } from 'lru-cache'
import {
  type AudioArchitecture,
  type AudioChunk,
  type AudioPlan,
  type ImageArchitecture,
  type ImagePlan,
  planWithin,
  type Tile,
} from '../encoders/index.ts'
import { OrielError } from '../errors.ts'
import type { Decoder, Vocabulary } from '../language/index.ts'
import type { Slices } from '../slices.ts'
import type { AttachmentHeader, AudioHeader, HeaderPiece, ImageHeader, VisionAdapter } from './generation.ts'
import { Positions } from './positions.ts'

/** The cells of a prompt that one run of an encoder fills: a tile of an image, or a chunk of a sound. */
export type AttachmentSpan = ImageSpan | AudioSpan

export interface ImageSpan extends Span {
  kind: 'image'
  attachment: ImageHeader
  plan: ImagePlan
  tile: Tile
  /** What the encoder is changed by; omitted: nothing. */
  adapter?: VisionAdapter | undefined
}

export interface AudioSpan extends Span {
  kind: 'audio'
  attachment: AudioHeader
  plan: AudioPlan
  chunk: AudioChunk
}

interface Span {
  /** The attachment's index among those of the prompt. */
  place: number
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
  /** Tokens of each attachment, including the marks that the model's format puts around it. */
  attachmentTokens: readonly number[]
}

/** How attachments become parts that are encoded by themselves; null for a kind that the model does not take. */
export interface Architectures {
  readonly images: ImageArchitecture | null
  readonly audio: AudioArchitecture | null
}

/** A part of an attachment that has no place in a prompt yet. */
type PlannedPart = (Omit<ImageSpan, Placed> | Omit<AudioSpan, Placed>) & { tokens: number }
type Placed = 'place' | 'key' | 'start' | 'end'

/** What names the embeddings of attachments, beside the attachments. */
interface Keys {
  cacheKey: string
  adapter: VisionAdapter | undefined
}

/** Turns prompts into cells. Each distinct span gets a range of negative numbers of its own. */
export class PromptLayout {
  readonly #decoder: Decoder
  readonly #architectures: Architectures
  /** The first number of each span's range, by the span's key and its time. */
  readonly #ranges = new LRUCache<string, number>({ max: rangesKept })
  readonly #marks = new Map<string, readonly number[]>()
  #next = -1

  constructor(decoder: Decoder, architectures: Architectures) {
    this.#decoder = decoder
    this.#architectures = architectures
  }

  /** Equal attachments have other embeddings from now on: what was computed with those of before is never found again. */
  forgetEmbeddings(): void {
    this.#ranges.clear()
  }

  /** Whether a text may fit the context. Tokenizing a long one takes seconds, so one that cannot is not tokenized. */
  mayFit(pieces: readonly HeaderPiece[]): boolean {
    const { vocabulary, contextTokens } = this.#decoder
    return textBytes(pieces) <= contextTokens * vocabulary.longest
  }

  /**
   * Reads a prompt in slices, since a long text takes long.
   * @param cacheKey the isolation key: requests with another key share neither the KV nor the embeddings of attachments,
   * since the time to the first token would reveal them
   * @param adapter of the encoder of images
   * @throws OrielError `invalid`, `param` `prompt`, for a text that cannot fit the context or an attachment that the model
   * does not take
   */
  *layout(pieces: readonly HeaderPiece[], cacheKey = '', adapter?: VisionAdapter): Slices<PromptCells> {
    const { vocabulary, contextTokens } = this.#decoder
    if (!this.mayFit(pieces))
      throw tooLong(
        `This model's context holds ${contextTokens} tokens of at most ${vocabulary.longest} bytes each, and the prompt has ${textBytes(pieces)} bytes of text.`,
      )
    return yield* this.#layout(pieces, Number.POSITIVE_INFINITY, { cacheKey, adapter })
  }

  /**
   * The start of a prompt, which need not fit the context.
   * @param most cells after which it may end: it has more of them if there is more of the prompt
   * @throws OrielError as `layout` does for an attachment
   */
  start(pieces: readonly HeaderPiece[], most: number): Slices<PromptCells> {
    return this.#layout(pieces, most, { cacheKey: '', adapter: undefined })
  }

  *#layout(pieces: readonly HeaderPiece[], most: number, keys: Keys): Slices<PromptCells> {
    const { vocabulary } = this.#decoder
    const writer = new CellWriter(vocabulary, most)
    if (vocabulary.addsBos && !startsWithBos(pieces, vocabulary)) writer.tokens([vocabulary.bosToken])
    const spans: AttachmentSpan[] = []
    const attachmentTokens: number[] = []
    for (const piece of pieces) {
      if (writer.isFull) break
      if (piece.kind === 'text') {
        yield* writer.text(piece.text, piece.special)
        continue
      }
      yield* writer.flush()
      if (piece.kind === 'tokens') writer.tokens(piece.tokens)
      else attachmentTokens.push(this.#write(writer, piece, attachmentTokens.length, keys, spans))
    }
    yield* writer.flush()
    const cells = writer.finish()
    const stops = this.#decoder.stateful ? stopsOf(cells, spans, vocabulary.endTokens) : []
    return { cells, spans, positions: this.#positions(spans), stops, attachmentTokens }
  }

  /** What stands in the prompt for an attachment: marks, and parts that are encoded by themselves. */
  #planOf(attachment: AttachmentHeader): (string | PlannedPart)[] {
    const { images, audio } = this.#architectures
    if (attachment.kind === 'image') {
      if (images === null) throw notTaken('images', 'image')
      const { width, height, detail, bounds } = attachment
      const plan = planWithin(images, { width, height }, detail, bounds)
      const mutual = images.atOnce !== undefined
      return plan.layout.map((tile) =>
        typeof tile === 'string' ? tile : { kind: 'image', attachment, plan, tile, mutual, tokens: tile.tokens },
      )
    }
    if (audio === null) throw notTaken('audio', 'audio')
    const plan = audio.plan(attachment.samples)
    return plan.layout.map((chunk) =>
      typeof chunk === 'string'
        ? chunk
        : { kind: 'audio', attachment, plan, chunk, mutual: false, tokens: chunk.tokens },
    )
  }

  /** @returns the number of cells that the attachment takes */
  #write(
    writer: CellWriter,
    attachment: AttachmentHeader,
    place: number,
    { cacheKey, adapter }: Keys,
    spans: AttachmentSpan[],
  ): number {
    let tokens = 0
    const later = attachment.kind === 'image' ? attachment.later : undefined
    for (const [index, part] of this.#planOf(attachment).entries()) {
      if (typeof part === 'string') {
        if (later !== undefined) continue
        const mark = this.#markOf(part)
        writer.tokens(mark)
        tokens += mark.length
        continue
      }
      const eyes = part.kind === 'image' ? adapter : undefined
      const key = [attachment.hash, part.plan.name, index, ...(eyes === undefined ? [] : [eyes.key]), cacheKey].join(
        '\n',
      )
      // Equal frames at other times are other input.
      const input = later === undefined ? key : [key, later].join('\n')
      const start = writer.embeddings(this.#range(input, part.tokens), part.tokens)
      const placed = { place, key, start, end: start + part.tokens }
      spans.push(part.kind === 'image' ? { ...part, ...placed, adapter: eyes } : { ...part, ...placed })
      tokens += part.tokens
    }
    return tokens
  }

  /** Tokens of a mark around tiles. As in llama.cpp, a token whose text is exactly the mark is preferred. */
  #markOf(text: string): readonly number[] {
    const known = this.#marks.get(text)
    if (known !== undefined) return known
    const other = this.#architectures.images?.otherMarks?.[text]
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
    // Sounds go on in time like text.
    const images = spans.filter((span) => span.kind === 'image')
    return new Positions(
      images.flatMap(({ start, end, tile: { places: grid, xd }, attachment: { later } }, image) =>
        grid === undefined ? [] : { start, end, grid, later, ...(xd && { image }) },
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

const textBytes = (pieces: readonly HeaderPiece[]): number =>
  pieces.reduce((sum, piece) => sum + (piece.kind === 'text' ? Buffer.byteLength(piece.text) : 0), 0)

/** Each state takes megabytes. */
const mostStops = 8

/**
 * The ends of attachments and of turns: another prompt with the same beginning most often goes on at one of them. The first of
 * them, which mostly is the end of a system prompt, and the last.
 */
function stopsOf(cells: Float64Array, spans: readonly AttachmentSpan[], endTokens: readonly number[]): number[] {
  const isEnd = new Set(endTokens)
  const attachments = spans.filter(({ place }, index) => spans[index + 1]?.place !== place).map(({ end }) => end)
  const turns = Array.from(cells, (cell, at) => (isEnd.has(cell) ? at + 1 : 0))
  const all = [...new Set([...attachments, ...turns])].filter((at) => at > 0 && at < cells.length).sort((a, b) => a - b)
  return all.length <= mostStops ? all : [...all.slice(0, 1), ...all.slice(1 - mostStops)]
}

const notTaken = (noun: string, kind: string): OrielError =>
  new OrielError('invalid', `This model does not take ${noun}.`, { param: 'prompt', code: `${kind}_not_supported` })

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
  readonly #most: number

  /** @param most cells after which no further text is tokenized */
  constructor(vocabulary: Vocabulary, most: number) {
    this.#vocabulary = vocabulary
    this.#most = most
  }

  get isFull(): boolean {
    return this.#cells.length > this.#most
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
      if (this.isFull) return
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
