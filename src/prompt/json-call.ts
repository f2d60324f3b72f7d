import { parseJson } from '../json.ts'

/**
 * A call as most models write it, `{"name": …, "arguments": {…}}`, read as it arrives, so that its arguments can be streamed.
 * Llama writes `parameters` instead of `arguments`. Other members are ignored.
 */
export class JsonCall {
  /** undefined until it is known. */
  name: string | undefined
  /** Whether the object has been closed. */
  complete = false
  /** Whether this is not a call: it is not JSON, or has no name or an unknown one. */
  broken = false
  readonly #known: (name: string) => boolean
  readonly #alone: boolean
  #text = ''
  /** The index of the next character to read. */
  #at = 0
  #depth = 0
  #inString = false
  #escaped = false
  /** The index of the current string, at the outermost level. */
  #stringStart = 0
  #key: string | undefined
  #valueStart = -1
  /** The range of the arguments in the text; -1: unknown. */
  #from = -1
  #to = -1
  #given = 0

  /**
   * @param known whether a function of this name exists
   * @param name the name, if it precedes the object; the object is then the arguments
   */
  constructor(known: (name: string) => boolean, name?: string) {
    this.#known = known
    this.name = name
    this.#alone = name !== undefined
  }

  get text(): string {
    return this.#text.slice(0, this.#at)
  }

  /** @returns the text after the object */
  push(text: string): string {
    this.#text += text
    while (this.#at < this.#text.length && !this.complete && !this.broken) this.#read(this.#text.charAt(this.#at++))
    return this.#text.slice(this.#at)
  }

  /** @returns the part of the arguments that has arrived since the last call */
  takeArguments(): string {
    const more = this.#moreArguments()
    this.#given += more.length
    return more
  }

  #moreArguments(): string {
    if (this.name === undefined) return ''
    if (this.#from < 0) return this.complete && this.#given === 0 ? '{}' : ''
    const end = this.#to < 0 ? this.#at : this.#to
    if (this.#text.charAt(this.#from) === '{') return this.#text.slice(this.#from + this.#given, end)
    return this.#to < 0 || this.#given > 0 ? '' : this.#unquoted()
  }

  /** Some models write the arguments as a string that contains JSON. */
  #unquoted(): string {
    const value = parseJson(this.#text.slice(this.#from, this.#to))
    return typeof value === 'string' && isObject(parseJson(value)) ? value : '{}'
  }

  #read(character: string): void {
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false
      else if (character === '\\') this.#escaped = true
      else if (character === '"') this.#endString()
      return
    }
    if (this.#depth === 0) {
      if (character === '{') {
        this.#depth = 1
        if (this.#alone) this.#from = this.#at - 1
      } else if (character.trim() !== '') this.broken = true
      return
    }
    if (this.#depth === 1 && this.#key !== undefined && this.#valueStart < 0 && !/[\s:]/.test(character))
      this.#startValue()
    if (character === '"') {
      this.#inString = true
      this.#stringStart = this.#at - 1
    } else if (character === '{' || character === '[') this.#depth++
    else if (character === '}' || character === ']') {
      if (this.#depth === 1) this.#endValue()
      this.#depth--
      if (this.#depth === 0) this.#endObject()
      else if (this.#depth === 1) this.#closeArguments(this.#at)
    } else if (character === ',' && this.#depth === 1) this.#endValue()
  }

  #endString(): void {
    this.#inString = false
    if (this.#depth > 1) return
    if (this.#key === undefined) this.#key = String(parseJson(this.#text.slice(this.#stringStart, this.#at)))
    else if (this.#key === 'name' && !this.#alone) {
      const name = parseJson(this.#text.slice(this.#stringStart, this.#at))
      if (typeof name !== 'string' || !this.#known(name)) this.broken = true
      else this.name ??= name
    }
  }

  #startValue(): void {
    this.#valueStart = this.#at - 1
    if ((this.#key === 'arguments' || this.#key === 'parameters') && this.#from < 0) this.#from = this.#valueStart
  }

  /** @param end the index after the arguments, if the current value is the arguments */
  #closeArguments(end: number): void {
    if (this.#from >= 0 && this.#to < 0 && this.#valueStart === this.#from) this.#to = end
  }

  /** A comma or the end of the object ends a member. */
  #endValue(): void {
    this.#closeArguments(this.#at - 1)
    this.#key = undefined
    this.#valueStart = -1
  }

  #endObject(): void {
    this.complete = true
    if (this.#alone) this.#to = this.#at
    this.broken = this.name === undefined || !isObject(parseJson(this.text))
  }
}

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value)
