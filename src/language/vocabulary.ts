import { unsupportedModel } from '../errors.ts'
import type { Llama, Vocab } from '../native/index.ts'
import { escaped } from '../regexp.ts'

/** A model's vocabulary: text to tokens and back. */
export interface Vocabulary {
  readonly size: number
  readonly bos: string
  readonly eos: string
  /** Whether the model expects the bos token before every prompt. */
  readonly addsBos: boolean
  readonly bosToken: number
  /** Texts of all control tokens, such as `<|im_end|>`. */
  readonly controlTokens: readonly string[]
  readonly controlIds: readonly number[]
  /** @param special whether control tokens in the text are read as such, or as plain text */
  tokenize(text: string, special: boolean): Int32Array
  /** Tokens that an embedding model expects around every text. */
  readonly around: { readonly before: readonly number[]; readonly after: readonly number[] }
  /** A token's bytes, which may be a part of a character. @param special whether control tokens have any */
  bytes(token: number, special: boolean): Uint8Array
  /** Bytes of the longest token. */
  readonly longest: number
  /** Tokens that end an answer. */
  readonly endTokens: readonly number[]
  isEnd(token: number): boolean
}

/** @throws OrielError `invalid` for a vocabulary that cannot represent all text */
export function openVocabulary(llama: Llama, vocab: Vocab): Vocabulary {
  const size = llama.vocabSize(vocab)
  const encoder = new TextEncoder()
  const textOf = (token: number): string => (token < 0 ? '' : (llama.tokenText(vocab, token) ?? ''))
  let longest = 1
  const controlTokens: string[] = []
  const controlIds: number[] = []
  const endTokens: number[] = []
  const missing = new Set(llama.vocabType(vocab) === sentencePiece ? byteTokens : [])
  for (let token = 0; token < size; token++) {
    const text = textOf(token)
    longest = Math.max(longest, Buffer.byteLength(text))
    // A token that is the byte itself is enough.
    missing.delete(Buffer.byteLength(text) === 1 ? (byteTokens[text.charCodeAt(0)] ?? text) : text)
    if (llama.isControl(vocab, token)) {
      controlTokens.push(text)
      controlIds.push(token)
    }
    if (llama.isEndOfGeneration(vocab, token)) endTokens.push(token)
  }

  // llama.cpp looks them up for an unknown character, and ends the process if one is missing.
  if (missing.size > 0)
    throw unsupportedModel(`This model's vocabulary lacks ${missing.size} of the 256 bytes that text may contain.`)
  const inPieces = llama.vocabType(vocab) === bytePairs
  const uncut = anyOf(controlTokens)

  const tokenize = (text: string, special: boolean): Int32Array => {
    const bytes = encoder.encode(text)
    // A token has at least one byte; some vocabularies put a space before the text.
    let out = new Int32Array(bytes.length + 2)
    const count = llama.tokenize(vocab, bytes, bytes.length, out, out.length, false, special)
    if (count < 0) {
      out = new Int32Array(-count)
      llama.tokenize(vocab, bytes, bytes.length, out, out.length, false, special)
    }
    // -1 is text for which the vocabulary has neither a token nor an unknown token.
    return out.subarray(0, Math.abs(count)).filter((token) => token >= 0)
  }

  return {
    size,
    longest,
    bos: textOf(llama.bos(vocab)),
    eos: textOf(llama.eos(vocab)),
    addsBos: llama.addsBos(vocab),
    bosToken: llama.bos(vocab),
    controlTokens,
    controlIds,
    tokenize(text, special) {
      const [first = '', ...others] = inPieces ? shortRuns(text, special ? uncut : null) : [text]
      if (others.length === 0) return tokenize(first, special)
      return Int32Array.from([first, ...others].flatMap((piece) => [...tokenize(piece, special)]))
    },
    get around() {
      const out = new Int32Array(8)
      const all = [...out.subarray(0, llama.tokenize(vocab, encoder.encode(''), 0, out, out.length, true, false))]
      const before = all.length > 1 || llama.addsBos(vocab) ? 1 : 0
      return { before: all.slice(0, before), after: all.slice(before) }
    },
    bytes(token, special) {
      let out = new Uint8Array(64)
      const count = llama.tokenToPiece(vocab, token, out, out.length, 0, special)
      if (count >= 0) return out.slice(0, count)
      out = new Uint8Array(-count)
      llama.tokenToPiece(vocab, token, out, out.length, 0, special)
      return out
    },
    endTokens,
    isEnd: (token) => endTokens.includes(token),
  }
}

/** `LLAMA_VOCAB_TYPE_SPM` */
const sentencePiece = 1

/** `<0x00>` to `<0xFF>` */
const byteTokens = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)

/** `LLAMA_VOCAB_TYPE_BPE` */
const bytePairs = 2

/** Maximum run of characters without a space, or of spaces; no token is that long. */
const mostInARow = 1000

/** The text up to the last end of a word. */
const wordEnd = /^.*[\p{L}\p{M}](?=[^\p{L}\p{M}])/su

/**
 * Cuts a text where a run without spaces, or of spaces only, is too long: llama.cpp splits text into words with
 * `std::regex`, which recurses for each character of a word, and 6,000 characters in a row ended the process. Models
 * differ in what a word is.
 * @param uncut matches control tokens, which must not be cut, in one capture group; null: there are none
 */
function shortRuns(text: string, uncut: RegExp | null): string[] {
  const pieces: string[] = []
  let from = 0
  for (const { 0: run, index } of text.matchAll(/\S+|\s+/gu)) {
    if (run.length <= mostInARow) continue
    let at = index
    for (const part of uncut === null ? [run] : run.split(uncut)) {
      const end = at + part.length
      while (end - at > mostInARow) {
        at += (wordEnd.exec(text.slice(at, at + mostInARow))?.[0] ?? wholeCharacters(text, at)).length
        pieces.push(text.slice(from, at))
        from = at
      }
      at = end
    }
  }
  if (from < text.length || pieces.length === 0) pieces.push(text.slice(from))
  return pieces
}

/** The next `mostInARow` UTF-16 units, or one less if the last would be half a character. */
function wholeCharacters(text: string, from: number): string {
  const last = text.charCodeAt(from + mostInARow - 1)
  return text.slice(from, from + mostInARow - (last >= 0xd800 && last < 0xdc00 ? 1 : 0))
}

/** Matches any of some texts in one capture group, the longer one of two with the same start. */
function anyOf(texts: readonly string[]): RegExp | null {
  const parts = texts.filter((text) => text !== '').map(escaped)
  return parts.length === 0 ? null : new RegExp(`(${parts.sort().reverse().join('|')})`)
}
