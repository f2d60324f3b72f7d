import { OrielError } from '../errors.ts'
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
  /** Texts of all control tokens: `<|im_end|>` and its like. */
  readonly controlTokens: readonly string[]
  /** @param special whether control tokens are read as such, or as plain text */
  tokenize(text: string, special: boolean): Int32Array
  /** A token's own bytes, which may be a part of a character. @param special whether control tokens have any */
  bytes(token: number, special: boolean): Uint8Array
  /** Bytes of the longest token. */
  readonly longest: number
  /** Tokens that end an answer. */
  readonly endTokens: readonly number[]
  isEnd(token: number): boolean
}

/** @throws OrielError `invalid` for a vocabulary that cannot write all text */
export function openVocabulary(llama: Llama, vocab: Vocab): Vocabulary {
  const size = llama.vocabSize(vocab)
  const encoder = new TextEncoder()
  const textOf = (token: number): string => (token < 0 ? '' : (llama.tokenText(vocab, token) ?? ''))
  let longest = 1
  const controlTokens: string[] = []
  const endTokens: number[] = []
  const missing = new Set(llama.vocabType(vocab) === sentencePiece ? byteTokens : [])
  for (let token = 0; token < size; token++) {
    const text = textOf(token)
    longest = Math.max(longest, Buffer.byteLength(text))
    // The byte itself does as well.
    missing.delete(Buffer.byteLength(text) === 1 ? (byteTokens[text.charCodeAt(0)] ?? text) : text)
    if (llama.isControl(vocab, token)) controlTokens.push(text)
    if (llama.isEndOfGeneration(vocab, token)) endTokens.push(token)
  }

  // llama.cpp looks them up for a character that it does not know, and ends the process where one is not there.
  if (missing.size > 0)
    throw new OrielError(
      'invalid',
      `This model's vocabulary lacks ${missing.size} of 256 bytes, which text may need.`,
      {
        code: 'unsupported_model',
      },
    )
  const inPieces = llama.vocabType(vocab) === bytePairs
  const uncut = anyOf(controlTokens)

  const tokenize = (text: string, special: boolean): Int32Array => {
    const bytes = encoder.encode(text)
    // A token is a byte or more; some vocabularies put a space before the text.
    let out = new Int32Array(bytes.length + 2)
    const count = llama.tokenize(vocab, bytes, bytes.length, out, out.length, false, special)
    if (count < 0) {
      out = new Int32Array(-count)
      llama.tokenize(vocab, bytes, bytes.length, out, out.length, false, special)
    }
    // What a vocabulary has no word for, and none that says so either, is -1.
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
    tokenize(text, special) {
      const [first = '', ...others] = inPieces ? shortRuns(text, special ? uncut : null) : [text]
      if (others.length === 0) return tokenize(first, special)
      return Int32Array.from([first, ...others].flatMap((piece) => [...tokenize(piece, special)]))
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

/** Characters in a row without a space between them, or spaces, that no token is as long as. */
const mostInARow = 1000

/** The last end of a word. */
const wordEnd = /^.*[\p{L}\p{M}](?=[^\p{L}\p{M}])/su

/**
 * A text cut where it goes on for too long without a space, or with spaces alone: llama.cpp splits it into words by
 * `std::regex`, which calls itself for each character of a word, and 6,000 characters in a row were the end of the process.
 * What is one word is the model's affair: signs with marks over them for one, letters and digits for another.
 * @param uncut what is one token in the midst of a word, in brackets; null: nothing is
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

/** `mostInARow` of a text's units, or one less where the last is half a character. */
function wholeCharacters(text: string, from: number): string {
  const last = text.charCodeAt(from + mostInARow - 1)
  return text.slice(from, from + mostInARow - (last >= 0xd800 && last < 0xdc00 ? 1 : 0))
}

/** Any of some texts, in brackets; the longer of two that begin alike. */
function anyOf(texts: readonly string[]): RegExp | null {
  const parts = texts.filter((text) => text !== '').map(escaped)
  return parts.length === 0 ? null : new RegExp(`(${parts.sort().reverse().join('|')})`)
}
