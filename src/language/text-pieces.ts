import { escaped } from '../regexp.ts'

/** What decides where a text may be cut, so that the tokens of its pieces are those of the whole. */
export interface Cuts {
  /** Whether the vocabulary joins pairs of bytes (`LLAMA_VOCAB_TYPE_BPE`). */
  readonly joinsBytes: boolean
  /** Whether a space is put before every text. */
  readonly addsSpace: boolean
  /** Pairs of a byte and white space after it that one token has: a text is not cut between them. */
  readonly crossed: CrossedPairs
  /** Matches the control tokens, which are not cut; null: there are none. */
  readonly control: RegExp | null
}

/** A part of a text. */
interface Piece {
  readonly text: string
  /** Whether no space belongs before it. */
  readonly isVerbatim: boolean
}

/** UTF-16 units of a piece: the slowest tokenizers take 6 ms for it. */
const usual = 4096

/** Units after which a piece ends at a place that may change a token or two. */
const most = 4 * usual

/** Maximum run of characters without a space, or of spaces, for `joinsBytes`; no token is that long. */
const mostInARow = 1000

/** Units around a place in which a control token may be. */
const aroundControl = 128

/** The text up to the last end of a word. */
const wordEnd = /^.*[\p{L}\p{M}](?=[^\p{L}\p{M}])/su

/** Runs without white space, and of white space only. A longer one comes in parts, so that each is found at once. */
const runs = /\S{1,16384}|\s{1,16384}/gu

/**
 * Cuts a text before spaces and line ends: no tokenizer joins a character with the white space after it unless a token has
 * both, and none looks back. Texts almost without such places are cut where it may change a token or two.
 *
 * With `joinsBytes`, long runs without white space, or of white space only, are cut in any case: llama.cpp splits text into
 * words with `std::regex`, which recurses for each character of a word, and 6,000 characters in a row ended the process.
 * Models differ in what a word is.
 * @param special whether control tokens in the text are read as such
 */
export function* piecesOf(text: string, special: boolean, cuts: Cuts): Generator<Piece, void> {
  const longest = cuts.joinsBytes ? mostInARow : most
  const control = special ? cuts.control : null
  let from = 0
  let isVerbatim = false
  const pieceTo = (to: number): Piece => ({ text: text.slice(from, to), isVerbatim })
  for (const { 0: run, index } of text.matchAll(runs)) {
    const length = index - from
    if (length >= usual && isBetweenTokens(text, index, cuts)) {
      yield pieceTo(index)
      from = cuts.addsSpace ? index + 1 : index
      isVerbatim = false
    } else if (length >= most && controlAround(text, index, control) === undefined) {
      yield pieceTo(index)
      from = index
      isVerbatim = true
    }
    const end = index + run.length
    for (let at = index; end - at > longest; ) {
      const next = text.slice(at, at + longest)
      const cut = at + (wordEnd.exec(next)?.[0] ?? wholeCharacters(next)).length
      const [start, behind] = controlAround(text, cut, control) ?? [cut, cut]
      at = start > at ? start : behind
      yield pieceTo(at)
      from = at
      isVerbatim = true
    }
  }
  if (from < text.length || from === 0) yield pieceTo(text.length)
}

/** Whether no token, and no word, has what is on both sides of a place. */
function isBetweenTokens(text: string, at: number, { joinsBytes, addsSpace, crossed }: Cuts): boolean {
  const space = text[at] ?? ''
  if (!(joinsBytes ? /[ \n\r\t]/ : / /).test(space)) return false
  // The space is put there again, but not before a control token.
  if (addsSpace && !/^ [\p{L}\p{N}]/u.test(text.slice(at, at + 3))) return false
  const before = text.slice(Math.max(0, at - 2), at)
  // Line ends after punctuation are parts of words in some models.
  return (space === ' ' ? /\S$/ : /[\p{L}\p{N}]$/u).test(before) && !crossed.has(before, space)
}

/** The start and the end of the control token around a place; undefined: there is none. */
function controlAround(text: string, at: number, control: RegExp | null): [number, number] | undefined {
  if (control === null) return undefined
  const start = Math.max(0, at - aroundControl)
  for (const { 0: token, index } of text.slice(start, at + aroundControl).matchAll(control))
    if (start + index < at && start + index + token.length > at) return [start + index, start + index + token.length]
  return undefined
}

/** Without a half of a character at its end. */
function wholeCharacters(text: string): string {
  const last = text.charCodeAt(text.length - 1)
  return last >= 0xd800 && last < 0xdc00 ? text.slice(0, -1) : text
}

/** Pairs of a byte and white space after it. */
export class CrossedPairs {
  readonly #pairs = new Set<string>()
  readonly #alphabet: ReadonlyMap<string, number> | null

  /** @param joinsBytes whether tokens are written in GPT-2's alphabet of bytes */
  constructor(joinsBytes: boolean) {
    this.#alphabet = joinsBytes ? byteAlphabet() : null
  }

  /** Adds the pairs within a token. */
  add(token: string): void {
    if (!spaceWithin.test(token)) return
    for (let at = 1; at < token.length; at++) {
      const space = spaces[token[at] ?? '']
      if (space !== undefined) this.#add(token.slice(Math.max(0, at - 2), at), space)
    }
  }

  /** White space after a control token may belong to it. */
  addEnd(token: string): void {
    for (const space of new Set(Object.values(spaces))) this.#pairs.add(`${lastByte(token)}${space}`)
  }

  has(before: string, space: string): boolean {
    return this.#pairs.has(`${lastByte(before)}${space}`)
  }

  #add(before: string, space: string): void {
    const last = before.at(-1) ?? ''
    if (spaces[last] !== undefined) return
    this.#pairs.add(`${this.#alphabet?.get(last) ?? lastByte(before)}${space}`)
  }
}

/** How tokens write white space. */
const spaces: Readonly<Record<string, string>> = {
  ...{ ' ': ' ', '\n': '\n', '\t': '\t', '\r': '\r', '▁': ' ' },
  ...{ Ġ: ' ', Ċ: '\n', ĉ: '\t', č: '\r' },
}

const spaceWithin = new RegExp(`[^${Object.keys(spaces).join('')}][${Object.keys(spaces).join('')}]`)

const lastByte = (text: string): number => Buffer.from(text).at(-1) ?? 0

/** GPT-2's printable character for each byte. */
function byteAlphabet(): Map<string, number> {
  let next = 256
  const isPrintable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173)
  return new Map(
    Array.from({ length: 256 }, (_, byte) => [String.fromCharCode(isPrintable(byte) ? byte : next++), byte]),
  )
}

/** Matches any of some texts, the longer one of two with the same start; null: there are none. */
export function anyOf(texts: readonly string[]): RegExp | null {
  const parts = texts.filter((text) => text !== '').map(escaped)
  return parts.length === 0 ? null : new RegExp(parts.sort().reverse().join('|'), 'g')
}
