import { unsupportedModel } from '../errors.ts'
import type { Llama, Vocab } from '../native/index.ts'
import { anyOf, CrossedPairs, type Cuts, piecesOf } from './text-pieces.ts'

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
  /** The same tokens, some at a time: each part takes a few ms. */
  tokenizing(text: string, special: boolean): Iterable<Int32Array>
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
  const joinsBytes = llama.vocabType(vocab) === bytePairs
  const crossed = new CrossedPairs(joinsBytes)
  const missing = new Set(llama.vocabType(vocab) === sentencePiece ? byteTokens : [])
  for (let token = 0; token < size; token++) {
    const text = textOf(token)
    longest = Math.max(longest, Buffer.byteLength(text))
    // A token that is the byte itself is enough.
    missing.delete(Buffer.byteLength(text) === 1 ? (byteTokens[text.charCodeAt(0)] ?? text) : text)
    crossed.add(text)
    if (llama.isControl(vocab, token)) {
      crossed.addEnd(text)
      controlTokens.push(text)
      controlIds.push(token)
    }
    if (llama.isEndOfGeneration(vocab, token)) endTokens.push(token)
  }

  // llama.cpp looks them up for an unknown character, and ends the process if one is missing.
  if (missing.size > 0)
    throw unsupportedModel(`This model's vocabulary lacks ${missing.size} of the 256 bytes that text may contain.`)

  const tokenizePiece = (text: string, special: boolean): Int32Array => {
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
  const addsSpace = isJoined('a a', ['a', 'a']) && !isJoined('a a', ['a', ' a'])
  function isJoined(whole: string, parts: readonly string[]): boolean {
    const joined = parts.flatMap((part) => [...tokenizePiece(part, false)])
    return tokenizePiece(whole, false).join() === joined.join()
  }
  const cuts: Cuts = { joinsBytes, addsSpace, crossed, control: anyOf(controlTokens) }
  const lineEnd = tokenizePiece('\n', false)
  /** Tokens of a text without a space before it. */
  const verbatim = (text: string, special: boolean): Int32Array => {
    const tokens = tokenizePiece(`\n${text}`, special)
    const begins = lineEnd.every((token, at) => token === tokens[at])
    return begins ? tokens.subarray(lineEnd.length) : tokenizePiece(text, special)
  }
  function* tokenizing(text: string, special: boolean): Generator<Int32Array, void> {
    for (const piece of piecesOf(text, special, cuts))
      yield addsSpace && piece.isVerbatim ? verbatim(piece.text, special) : tokenizePiece(piece.text, special)
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
    tokenizing,
    tokenize(text, special) {
      const [first = new Int32Array(), ...others] = tokenizing(text, special)
      return others.length === 0 ? first : Int32Array.from([first, ...others].flatMap((part) => [...part]))
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
