/** Where an answer is written while it comes. */
export interface Writer {
  text(text: string, kind: 'text' | 'thought'): void
  /** The beginning of an answer to a part of a long document. */
  heading(text: string): void
  end(): void
  /** The end of an answer that broke off. */
  breakOff(): void
}

/** Writes answers to stdout. Thoughts are for a person only, in grey. */
export function toTerminal(): Writer {
  const isPerson = process.stdout.isTTY === true
  const [grey, usual] = process.env.NO_COLOR ? ['', ''] : ['\u001b[2m', '\u001b[0m']
  let thinking = false
  const think = (on: boolean): void => {
    if (on === thinking) return
    thinking = on
    process.stdout.write(on ? grey : `${usual}\n`)
  }
  return {
    text(text, kind) {
      if (kind === 'thought' && !isPerson) return
      think(kind === 'thought')
      process.stdout.write(text)
    },
    heading: (text) => void process.stdout.write(`${text}:\n`),
    end() {
      think(false)
      process.stdout.write('\n')
    },
    breakOff: () => think(false),
  }
}

export const nowhere: Writer = { text() {}, heading() {}, end() {}, breakOff() {} }
