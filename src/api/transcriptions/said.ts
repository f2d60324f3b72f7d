/** Models for nothing but transcription may write before the text which language they hear, as Qwen3-ASR does. */
const heading = /^\s*language ([\p{Letter} ]{1,40})<asr_text>/u

/** The text of an answer, and the language that the model names before it: `english`. */
export function saidIn(answer: string): { text: string; language: string | null } {
  const [whole = '', language = 'None'] = heading.exec(answer) ?? []
  return { text: answer.slice(whole.length).trim(), language: language === 'None' ? null : language.toLowerCase() }
}

/** Reads an answer as it comes: what it returns, joined, is the text of `saidIn`. */
export class SaidReader {
  /** The beginning, until it is clear whether it is a heading. */
  #held: string | undefined = ''
  /** White space that belongs to the text only if more of it follows. */
  #space = ''
  #begun = false

  /** @returns new text */
  push(text: string): string {
    if (this.#held === undefined) return this.#said(text)
    this.#held += text
    return mayBeHeading(this.#held) ? '' : this.end()
  }

  /** @returns what was held back */
  end(): string {
    const held = this.#held ?? ''
    this.#held = undefined
    return this.#said(held.replace(heading, ''))
  }

  #said(text: string): string {
    const all = this.#begun ? this.#space + text : text.trimStart()
    const said = all.trimEnd()
    this.#begun ||= said !== ''
    this.#space = all.slice(said.length)
    return said
  }
}

function mayBeHeading(text: string): boolean {
  const begun = text.trimStart()
  return 'language '.startsWith(begun) || /^language [\p{Letter} ]{0,40}(<[a-z_]{0,8})?$/u.test(begun)
}
