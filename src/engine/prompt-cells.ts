import type { ImageArchitecture, ImagePlan, Tile } from '../encoders/index.ts'
import { OrielError } from '../errors.ts'
import type { Decoder, Vocabulary } from '../language/index.ts'
import type { PictureInput, PromptPiece } from './generation.ts'
import { Positions } from './positions.ts'

/** A tile's place in a prompt. */
export interface PictureSpan {
  picture: PictureInput
  plan: ImagePlan
  tile: Tile
  /** Names the tile's embeddings: equal keys have equal embeddings. */
  key: string
  /** Whether its embeddings see each other, and so must be read all at once. */
  mutual: boolean
  /** Its first cell, and the cell behind its last. */
  start: number
  end: number
}

/** A prompt as the KV memory sees it: one cell for each token or embedding. */
export interface PromptCells {
  /**
   * A token's id, or a negative number for a place of a picture: equal cells hold equal input. Doubles, because no number
   * is ever given twice, and 32 bits of them would last a busy server for hours.
   */
  cells: Float64Array
  spans: readonly PictureSpan[]
  positions: Positions
  /** Tokens of each picture, with those that the model wants around it. */
  imageTokens: readonly number[]
}

/** Turns prompts into cells. It gives every tile it has met a range of negative numbers of its own. */
export class PromptLayout {
  readonly #decoder: Decoder
  readonly #architecture: ImageArchitecture | null
  readonly #ranges = new Map<string, number>()
  readonly #marks = new Map<string, readonly number[]>()
  #next = -1

  constructor(decoder: Decoder, architecture: ImageArchitecture | null) {
    this.#decoder = decoder
    this.#architecture = architecture
  }

  /**
   * @param cacheKey who may find what becomes of these pictures: how soon an answer comes would tell others of them
   * @throws OrielError `invalid` for a picture that the model cannot take
   */
  layout(pieces: readonly PromptPiece[], cacheKey = ''): PromptCells {
    const cells: number[] = []
    const spans: PictureSpan[] = []
    const imageTokens: number[] = []
    // Text that is read alike is tokenized in one go, or a word that crosses a border would become other tokens.
    let text = { special: true, value: '' }
    const flush = (): number => {
      const tokens = this.#decoder.vocabulary.tokenize(text.value, text.special)
      for (const token of tokens) cells.push(token)
      text = { special: true, value: '' }
      return tokens.length
    }
    const write = (value: string, special: boolean): void => {
      if (special !== text.special && text.value !== '') flush()
      text = { special, value: text.value + value }
    }

    const { vocabulary, contextTokens } = this.#decoder
    // Everybody's answers wait while a text is made into tokens.
    const bytes = pieces.reduce((sum, piece) => sum + (piece.kind === 'text' ? Buffer.byteLength(piece.text) : 0), 0)
    if (bytes > contextTokens * vocabulary.longest)
      throw new OrielError(
        'invalid',
        `This model's context holds ${contextTokens} tokens of ${vocabulary.longest} bytes at most, and the prompt has ${bytes} bytes of text.`,
        { param: 'messages', code: 'context_length_exceeded' },
      )
    if (vocabulary.addsBos && !startsWith(pieces, vocabulary)) cells.push(vocabulary.bosToken)
    for (const piece of pieces) {
      if (piece.kind === 'text') {
        if (piece.text !== '') write(piece.text, piece.special)
        continue
      }
      if (piece.kind === 'tokens') {
        flush()
        for (const token of piece.tokens) cells.push(token)
        continue
      }
      const architecture = this.#architecture
      if (architecture === null)
        throw new OrielError('invalid', 'This model takes no pictures.', { code: 'image_not_supported' })
      const { width, height, detail } = piece.picture
      const plan = architecture.plan({ width, height }, detail)
      let tokens = 0
      for (const part of plan.layout) {
        flush()
        if (typeof part === 'string') {
          const mark = this.#markOf(part)
          for (const token of mark) cells.push(token)
          tokens += mark.length
          continue
        }
        const key = [piece.picture.hash, plan.name, plan.layout.indexOf(part), cacheKey].join('\n')
        const start = cells.length
        const mutual = architecture.atOnce !== undefined
        const span = { picture: piece.picture, plan, tile: part, key, mutual, start, end: start + part.tokens }
        const first = this.#range(span)
        for (let place = 0; place < part.tokens; place++) cells.push(first - place)
        spans.push(span)
        tokens += part.tokens
      }
      imageTokens.push(tokens)
    }
    flush()
    return { cells: Float64Array.from(cells), spans, positions: this.#positions(spans), imageTokens }
  }

  /** What an architecture puts around tiles: a token of just that text where there is one, as llama.cpp has it. */
  #markOf(text: string): readonly number[] {
    const known = this.#marks.get(text)
    if (known !== undefined) return known
    const { vocabulary } = this.#decoder
    // Some vocabularies put a space before all text: a line's end would become two tokens.
    const tokens = [...vocabulary.tokenize(text, true)]
    const exact = tokens.find((token) => Buffer.from(vocabulary.bytes(token, true)).toString() === text)
    const mark = exact === undefined ? tokens : [exact]
    this.#marks.set(text, mark)
    return mark
  }

  #positions(spans: readonly PictureSpan[]): Positions {
    const grids = spans.map(({ start, end, tile }) => {
      return { start, end, grid: tile.places ?? { rows: 1, columns: tile.tokens } }
    })
    return new Positions(this.#decoder.gridPositions ? grids : [])
  }

  /** First of the numbers that stand for a tile's places. */
  #range(span: PictureSpan): number {
    const known = this.#ranges.get(span.key)
    const first = known ?? this.#next
    if (known === undefined) this.#next -= span.tile.tokens
    // Behind all others: the one that went unused the longest is forgotten.
    this.#ranges.delete(span.key)
    this.#ranges.set(span.key, first)
    const oldest = this.#ranges.keys().next().value
    if (this.#ranges.size > rangesKept && oldest !== undefined) this.#ranges.delete(oldest)
    return first
  }
}

/** Tiles whose cells are remembered; one that is forgotten only loses what the prefix cache had of it. */
const rangesKept = 65536

function startsWith(pieces: readonly PromptPiece[], { bos, bosToken }: Vocabulary): boolean {
  const first = pieces[0]
  if (first?.kind === 'tokens') return first.tokens[0] === bosToken
  return bos !== '' && first?.kind === 'text' && first.special && first.text.startsWith(bos)
}
