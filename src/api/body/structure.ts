import { OrielError } from '../../errors.ts'

/**
 * What one body may have, so that nothing that walks it takes long. Numbers, which are the tokens of a prompt, cost much
 * less than other values.
 */
export const limits = {
  /** Arrays and objects within each other. */
  depth: 256,
  /** Arrays, objects and strings, of which each name is one. */
  values: 100_000,
  /** Items of all arrays. */
  items: 2_000_000,
  /** Members of one object. */
  members: 10_000,
}

const [quote, comma, colon, backslash] = [0x22, 0x2c, 0x3a, 0x5c]
const [openArray, closeArray, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d]

/** An array or an object that is open. Places are in the text that is not parsed yet. */
export interface Frame {
  readonly isArray: boolean
  /** Where what is not parsed yet begins. */
  from: number
  /** The last comma; -1: none. */
  commaAt: number
  /** The last name, with its quotes. */
  nameFrom: number
  nameTo: number
  /** Whether the name has its colon, so that a value is next. */
  afterColon: boolean
  /** Commas so far. */
  commas: number
}

/** Follows the structure of a JSON text: strings, and what is within what. It leaves the syntax of the rest to others. */
export class Structure {
  /** The open ones, the outermost first. The body as a whole stands in the first, as in an array. */
  readonly frames: Frame[] = [frameAt(0, true)]
  inString = false
  /** The first quote of the last string. */
  stringAt = 0
  #nodes = 0
  #items = 0
  /** The parameter of the body that is being read. */
  #param: string | undefined

  /** Strings, arrays, objects and items so far. */
  get values(): number {
    return this.#nodes + this.#items
  }

  /**
   * Reads on.
   * @param text what is not parsed yet
   * @param start where its new part begins
   * @param onClose called at the last byte of each string, array and object
   * @throws OrielError `invalid`, `too_large`
   */
  read(text: Buffer, start: number, onClose: (closed: Frame | 'string', at: number) => void): void {
    let frame = this.#innermost
    for (let at = start; at < text.length; at++) {
      if (this.inString) {
        at = endOfString(text, at, Math.max(0, this.stringAt + 1))
        if (at < 0) return
        this.inString = false
        this.#named(frame, text, at)
        onClose('string', at)
        continue
      }
      switch (text[at]) {
        case quote:
          this.inString = true
          this.stringAt = at
          this.#count()
          break
        case comma:
          frame.commaAt = at
          frame.commas++
          frame.afterColon = false
          if (frame.isArray ? ++this.#items > limits.items : frame.commas >= limits.members)
            throw this.#tooMany(frame.isArray ? 'items' : 'members')
          break
        case colon:
          frame.afterColon = true
          break
        case openArray:
        case openObject:
          this.#count()
          frame = frameAt(at + 1, text[at] === openArray)
          if (this.frames.push(frame) - 1 > limits.depth) throw this.#tooMany('depth')
          break
        case closeArray:
        case closeObject:
          if (this.frames.length === 1 || frame.isArray !== (text[at] === closeArray)) throw invalidJson()
          this.frames.pop()
          onClose(frame, at)
          frame = this.#innermost
          break
      }
    }
  }

  /** Moves all places back, because the first bytes of the text are gone. */
  rebase(by: number): void {
    this.stringAt -= by
    for (const frame of this.frames) {
      frame.from -= by
      frame.commaAt -= by
      frame.nameFrom -= by
      frame.nameTo -= by
    }
  }

  get #innermost(): Frame {
    const last = this.frames.at(-1)
    if (last === undefined) throw invalidJson()
    return last
  }

  /** A string that has no colon before it is a name. */
  #named(frame: Frame, text: Buffer, at: number): void {
    if (frame.isArray || frame.afterColon) return
    frame.nameFrom = this.stringAt
    frame.nameTo = at + 1
    if (this.frames.length === 2)
      this.#param = text.toString('utf8', this.stringAt + 1, Math.min(at, this.stringAt + 41))
  }

  #count(): void {
    if (++this.#nodes > limits.values) throw this.#tooMany('values')
  }

  #tooMany(limit: keyof typeof limits): OrielError {
    const what = {
      depth: `is nested more than ${limits.depth} deep`,
      values: `has more than ${limits.values} strings, arrays and objects`,
      items: `has more than ${limits.items} items in its arrays`,
      members: `has an object with more than ${limits.members} members`,
    }[limit]
    const param = this.frames.length > 2 ? this.#param : undefined
    const place = param === undefined ? '' : `; it is reached in ${JSON.stringify(param)}`
    return new OrielError('too_large', `The request body ${what}, the limit of this server${place}.`, {
      param,
      code: 'body_too_complex',
    })
  }
}

const frameAt = (from: number, isArray: boolean): Frame => ({
  isArray,
  from,
  commaAt: -1,
  nameFrom: 0,
  nameTo: 0,
  afterColon: false,
  commas: 0,
})

/** The quote that ends a string; -1: it has not arrived. @param first the string's first byte */
function endOfString(text: Buffer, from: number, first: number): number {
  for (let at = text.indexOf(quote, from); at >= 0; at = text.indexOf(quote, at + 1)) {
    let escapes = at
    while (escapes > first && text[escapes - 1] === backslash) escapes--
    if ((at - escapes) % 2 === 0) return at
  }
  return -1
}

export const invalidJson = (): OrielError =>
  new OrielError('invalid', 'The request body is not valid JSON.', { code: 'invalid_json' })
