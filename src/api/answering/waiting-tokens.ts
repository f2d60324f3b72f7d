import { isUtf8 } from 'node:buffer'
import type { AnswerPiece, AnswerToken } from '../../deployments/index.ts'

/** Tokens that still wait after a text that none of them wrote. Some servers name tokens otherwise than they write them. */
const mostUnmatched = 100

/** Places within one text that no token wrote. To look for the tokens after each takes a while. */
const mostGaps = 100

/** What is written for bytes that are no character. */
const replacement = Buffer.from('\uFFFD')

/** Tokens whose text has not come yet. Some never have one: marks around thoughts and calls, and white space beside them. */
export class WaitingTokens {
  #tokens: AnswerToken[] = []
  /** Bytes of the first token that earlier text ended with. */
  #used = 0

  add(tokens: readonly AnswerToken[]): void {
    for (const token of tokens) if (token.bytes.length > 0) this.#tokens.push(token)
  }

  /** The tokens of the texts among the next pieces. */
  ofText(pieces: readonly AnswerPiece[]): AnswerToken[] {
    return pieces.flatMap((piece) => {
      // Arguments may be written otherwise than the model did, and thoughts are only passed over.
      if (piece.kind === 'call' || piece.kind === 'arguments') return []
      const passed = this.take(piece.text)
      return piece.kind === 'text' ? passed : []
    })
  }

  /**
   * The tokens of the next text, which may begin and end within a token. Those before it are dropped. Text that no token wrote
   * is passed over, and leaves them waiting: tags around a thought that stays in the text may be such.
   */
  take(text: string): AnswerToken[] {
    const taken: AnswerToken[] = []
    let rest: Buffer = Buffer.from(text)
    for (let gaps = 0; rest.length > 0 && gaps < mostGaps; gaps++) {
      rest = this.#takeAt(rest, taken)
      const [first] = this.#tokens
      if (first === undefined) break
      const broken = rest
      while (rest.subarray(0, replacement.length).equals(replacement)) rest = rest.subarray(replacement.length)
      if (rest !== broken) {
        this.#takeBroken(rest, taken)
        continue
      }
      const start = rest.indexOf(first.bytes.subarray(this.#used))
      if (start <= 0) {
        if (rest.length > 0) this.#tokens.splice(0, this.#tokens.length - mostUnmatched)
        break
      }
      rest = rest.subarray(start)
    }
    return taken
  }

  /** Takes the tokens that a text begins with. @returns the rest of the text, which begins with none of those that wait */
  #takeAt(text: Buffer, taken: AnswerToken[]): Buffer {
    let rest = text
    /** The first token that still waits. */
    let first = 0
    for (let at = 0; rest.length > 0 && at < first + mostUnmatched; at++) {
      const token = this.#tokens[at]
      if (token === undefined) break
      const used = at === first ? this.#used : 0
      const fresh = token.bytes.subarray(used)
      const start = beginning(fresh, rest)
      const shared = Math.min(fresh.length - start, rest.length)
      if (shared === 0) continue
      if (used === 0) taken.push(token)
      rest = rest.subarray(shared)
      const isWhole = start + shared === fresh.length
      first = isWhole ? at + 1 : at
      this.#used = isWhole ? 0 : used + start + shared
    }
    this.#tokens.splice(0, first)
    return rest
  }

  /** Takes tokens with parts of a character that did not become whole. @param after the text after what stands for it */
  #takeBroken(after: Buffer, taken: AnswerToken[]): void {
    for (let [first] = this.#tokens; first !== undefined; [first] = this.#tokens) {
      if (isUtf8(first.bytes) || (after.length > 0 && beginning(first.bytes, after) === 0)) return
      taken.push(first)
      this.#tokens.shift()
      this.#used = 0
    }
  }
}

/** Where in a token the text begins; the token's length if it does not. A mark may precede it within the token. */
function beginning(token: Uint8Array, text: Buffer): number {
  const isAt = (start: number, length: number) => text.compare(token, start, start + length, 0, length) === 0
  if (isAt(0, Math.min(token.length, text.length))) return 0
  for (let start = Math.max(1, token.length - text.length); start < token.length; start++)
    if (isAt(start, token.length - start)) return start
  return token.length
}
