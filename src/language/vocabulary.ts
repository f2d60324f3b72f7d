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
  /** Tokens that end an answer. */
  readonly endTokens: readonly number[]
  isEnd(token: number): boolean
}

export function openVocabulary(llama: Llama, vocab: Vocab): Vocabulary {
  const size = llama.vocabSize(vocab)
  const encoder = new TextEncoder()
  const textOf = (token: number): string => (token < 0 ? '' : (llama.tokenText(vocab, token) ?? ''))
  const controlTokens: string[] = []
  const endTokens: number[] = []
  for (let token = 0; token < size; token++) {
    if (llama.isControl(vocab, token)) controlTokens.push(textOf(token))
    if (llama.isEndOfGeneration(vocab, token)) endTokens.push(token)
  }

  return {
    size,
    bos: textOf(llama.bos(vocab)),
    eos: textOf(llama.eos(vocab)),
    addsBos: llama.addsBos(vocab),
    bosToken: llama.bos(vocab),
    controlTokens,
    tokenize(text, special) {
      const bytes = encoder.encode(text)
      // A token is a byte or more; some vocabularies put a space before the text.
      let out = new Int32Array(bytes.length + 2)
      const count = llama.tokenize(vocab, bytes, bytes.length, out, out.length, false, special)
      if (count >= 0) return out.slice(0, count)
      out = new Int32Array(-count)
      llama.tokenize(vocab, bytes, bytes.length, out, out.length, false, special)
      return out
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
