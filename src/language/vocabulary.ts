import type { Llama, Vocab } from '../native/index.ts'

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

export function openVocabulary(llama: Llama, vocab: Vocab): Vocabulary {
  const size = llama.vocabSize(vocab)
  const encoder = new TextEncoder()
  const textOf = (token: number): string => (token < 0 ? '' : (llama.tokenText(vocab, token) ?? ''))
  const piecesOf = llama.vocabType(vocab) === bytePairs ? shortRuns : (text: string) => [text]
  let longest = 1
  const controlTokens: string[] = []
  const endTokens: number[] = []
  for (let token = 0; token < size; token++) {
    const text = textOf(token)
    longest = Math.max(longest, Buffer.byteLength(text))
    if (llama.isControl(vocab, token)) controlTokens.push(text)
    if (llama.isEndOfGeneration(vocab, token)) endTokens.push(token)
  }

  const tokenize = (text: string, special: boolean): Int32Array => {
    const bytes = encoder.encode(text)
    // A token is a byte or more; some vocabularies put a space before the text.
    let out = new Int32Array(bytes.length + 2)
    const count = llama.tokenize(vocab, bytes, bytes.length, out, out.length, false, special)
    if (count >= 0) return out.slice(0, count)
    out = new Int32Array(-count)
    llama.tokenize(vocab, bytes, bytes.length, out, out.length, false, special)
    return out
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
      const [first = '', ...others] = piecesOf(text)
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

/** `LLAMA_VOCAB_TYPE_BPE` */
const bytePairs = 2

/** A thousand letters, spaces or signs without anything else between them, which no token is as long as. */
const longRun = /[\p{L}\p{M}]{1000}|\p{N}{1000}|\s{1000}|[^\s\p{L}\p{M}\p{N}]{1000}/gu

/**
 * A text cut where it goes on alike for too long: llama.cpp splits it into words by `std::regex`, which calls itself for
 * each character of a word, and 8,000 letters in a row were the end of the process.
 */
function shortRuns(text: string): string[] {
  const pieces: string[] = []
  let from = 0
  for (const { 0: run, index } of text.matchAll(longRun)) {
    const to = index + run.length
    pieces.push(text.slice(from, to))
    from = to
  }
  if (from < text.length || pieces.length === 0) pieces.push(text.slice(from))
  return pieces
}
