import type { AnswerPart } from '../backend.ts'

type Piece = AnswerPart['pieces'][number]

/**
 * Takes tags out of the text of one answer. A tag is a token of the model, but its text may come in two parts: the end of it
 * is held back if it may be the start of a stop string.
 */
export class HiddenTags {
  readonly #raw: TagFilter
  readonly #text: TagFilter
  /** The piece whose text may be held. */
  #last: Piece | undefined

  constructor(tags: ReadonlySet<string>) {
    this.#raw = new TagFilter(tags)
    this.#text = new TagFilter(tags)
  }

  /** @returns the part without tags, and without the beginning of one at its end */
  push(part: AnswerPart): AnswerPart {
    return { ...part, raw: this.#raw.push(part.raw), pieces: part.pieces.flatMap((piece) => this.#pass(piece)) }
  }

  /** @returns what was held back and is no tag */
  finish(): Pick<AnswerPart, 'raw' | 'pieces'> {
    return { raw: this.#raw.finish(), pieces: this.#flush() }
  }

  #pass(piece: Piece): Piece[] {
    const before = this.#last?.kind === piece.kind ? [] : this.#flush()
    this.#last = piece
    if (piece.kind === 'call') return [...before, piece]
    const text = this.#text.push(piece.text)
    return text === '' ? before : [...before, { ...piece, text }]
  }

  #flush(): Piece[] {
    const text = this.#text.finish()
    return text === '' || this.#last === undefined || this.#last.kind === 'call' ? [] : [{ ...this.#last, text }]
  }
}

/** Takes tags out of a text that comes in parts. */
export class TagFilter {
  readonly #tags: ReadonlySet<string>
  #held = ''

  constructor(tags: ReadonlySet<string>) {
    this.#tags = tags
  }

  /** @returns the text so far without tags, as far as it is decided */
  push(text: string): string {
    const all = this.#held + text
    const open = all.lastIndexOf('<')
    const isBegun = open >= 0 && !all.includes('>', open) && this.#begins(all.slice(open))
    this.#held = isBegun ? all.slice(open) : ''
    return this.#clean(isBegun ? all.slice(0, open) : all)
  }

  /** @returns what was held back */
  finish(): string {
    const held = this.#held
    this.#held = ''
    return held
  }

  #begins(text: string): boolean {
    for (const tag of this.#tags) if (tag.startsWith(text)) return true
    return false
  }

  #clean(text: string): string {
    return text.replace(/<[^<>]*>/g, (tag) => (this.#tags.has(tag) ? '' : tag))
  }
}
