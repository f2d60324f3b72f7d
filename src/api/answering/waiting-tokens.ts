import type { AnswerToken } from '../../deployments/index.ts'

/** Tokens whose text has not come yet. Some never have one: marks around thoughts and calls, and white space beside them. */
export class WaitingTokens {
  #tokens: AnswerToken[] = []
  /** Bytes of the first token that earlier text ended with. */
  #used = 0

  add(tokens: readonly AnswerToken[]): void {
    this.#tokens.push(...tokens)
  }

  /** The tokens of the next text, which may begin and end within a token. Those before it are dropped. */
  take(text: string): AnswerToken[] {
    const taken: AnswerToken[] = []
    if (this.#tokens.length === 0) return taken
    let rest: Buffer = Buffer.from(text)
    let passed = 0
    for (const token of this.#tokens) {
      if (rest.length === 0) break
      const fresh = token.bytes.subarray(this.#used)
      const start = beginning(fresh, rest)
      const shared = Math.min(fresh.length - start, rest.length)
      if (shared > 0 && this.#used === 0) taken.push(token)
      rest = rest.subarray(shared)
      if (start + shared < fresh.length) {
        this.#used += start + shared
        break
      }
      this.#used = 0
      passed++
    }
    this.#tokens.splice(0, passed)
    return taken
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
