import { setImmediate as nextTurn } from 'node:timers/promises'

/** A string of a JSON body whose characters are in memory as ASCII, none of which JSON escapes. */
export class Characters {
  readonly pieces: readonly (string | Buffer)[]

  constructor(...pieces: readonly (string | Buffer)[]) {
    this.pieces = pieces
  }
}

/** Characters that are written at once, and values. They take a few ms at most. */
const atOnce = { characters: 64_000, values: 1000 }

/** A JSON body. It is written when it is sent, in the turns of others: a client's text may have megabytes. */
export interface JsonBody {
  chunks(): Promise<Buffer[]>
  /** All at once. */
  toString(): string
}

export const jsonBody = (value: unknown): JsonBody => ({
  async chunks() {
    const written: Buffer[] = []
    let text = ''
    for (const part of partsOf(value)) {
      if (typeof part === 'string') text += part
      if (typeof part === 'string' && text.length < atOnce.characters) continue
      written.push(Buffer.from(text))
      text = ''
      if (typeof part !== 'string') written.push(part)
      await nextTurn()
    }
    return [...written, Buffer.from(text)]
  },
  toString: () => [...partsOf(value)].join(''),
})

/** Text and bytes of the JSON of plain data. `Characters` are copied. */
function* partsOf(value: unknown): Generator<string | Buffer, void, void> {
  if (value instanceof Characters) yield* ['"', ...value.pieces, '"']
  else if (isSmall(value)) yield JSON.stringify(value) ?? 'null'
  else if (typeof value === 'string') {
    yield '"'
    // Halves of a character are escaped then, and are one again where they are read.
    for (let at = 0; at < value.length; at += atOnce.characters)
      yield JSON.stringify(value.slice(at, at + atOnce.characters)).slice(1, -1)
    yield '"'
  } else if (Array.isArray(value)) {
    for (const [index, one] of value.entries()) {
      yield index === 0 ? '[' : ','
      yield* partsOf(one)
    }
    yield ']'
  } else {
    let before = '{'
    for (const [name, one] of Object.entries(value as object)) {
      if (one === undefined) continue
      yield `${before}${JSON.stringify(name)}:`
      yield* partsOf(one)
      before = ','
    }
    yield '}'
  }
}

/** Whether a value is written at once. */
function isSmall(value: unknown): boolean {
  const left = { ...atOnce }
  const fits = (one: unknown): boolean => {
    if (one instanceof Characters || --left.values < 0) return false
    if (typeof one === 'string') left.characters -= one.length
    if (left.characters < 0) return false
    if (typeof one !== 'object' || one === null) return true
    // `for ... in` would list all indices first, and an array may have millions.
    if (Array.isArray(one)) return one.every(fits)
    for (const name in one) {
      left.characters -= name.length
      if (!fits(one[name as keyof typeof one])) return false
    }
    return true
  }
  return fits(value)
}
