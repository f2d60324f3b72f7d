import { type CallMarkup, markups, partOf } from './call-markup.ts'
import { JsonCall } from './json-call.ts'
import type { Tool } from './messages.ts'

/** What a model's text turns out to be. Calls are counted from 0; their arguments come in pieces of JSON. */
export type AnswerPiece =
  | { kind: 'text'; text: string }
  | { kind: 'reasoning'; text: string }
  | { kind: 'call'; call: number; name: string }
  | { kind: 'arguments'; call: number; text: string }

export interface AnswerReader {
  /** Whether what comes next is a thought, as far as is known. */
  readonly thinking: boolean
  /** @returns what can be told of the answer now */
  push(text: string): AnswerPiece[]
  /** @returns what was held back, when no more text comes */
  finish(): AnswerPiece[]
}

export interface ReaderOptions {
  /** What the model may call, by name; empty: its text is never read as a call. */
  tools: ReadonlyMap<string, Tool>
  /** Calls that are told; more are left out. */
  mostCalls: number
  /** Whether thoughts are told apart from the answer. */
  splitReasoning: boolean
  /** Whether the prompt has begun a thought that the answer goes on with. In a text that holds all it begins again. */
  thinking: boolean
}

const think = { open: '<think>', close: '</think>' } as const

/** Whether a template's last words begin a thought for the model to go on with: some do. */
export const beginsThought = (lastWords: string): boolean => lastWords.trimEnd().endsWith(think.open)

export const thoughtEnd: string = think.close

/** Texts that some vocabularies have as control tokens, which an answer shows only when it is asked to. */
export const thoughtTags: readonly string[] = Object.values(think)

/** Reads an answer as it comes: the pieces are the same wherever its text was cut. */
export const readAnswer = (options: ReaderOptions): AnswerReader => new Reader(options)

const anyName = (name: string): boolean => name !== ''

type State = 'start' | 'reasoning' | 'text' | 'opened' | 'call' | 'called'

class Reader implements AnswerReader {
  readonly #options: ReaderOptions
  #state: State
  /** Whether a thought may still begin. */
  #mayThink: boolean
  #held = ''
  /** The last turns out to be white space that is left out where a thought or a call borders on it. */
  #trim = false
  #pieces: AnswerPiece[] = []
  #markup: CallMarkup = markups.bare
  /** What has been read of a call that is not sure to be one. */
  #unsure = ''
  #json = new JsonCall(anyName)
  #announced = false
  #calls = 0

  constructor(options: ReaderOptions) {
    this.#options = options
    this.#state = options.thinking && options.splitReasoning ? 'reasoning' : 'start'
    this.#trim = this.#state === 'reasoning'
    this.#mayThink = options.splitReasoning && !options.thinking
    if (options.thinking && !options.splitReasoning) this.#held = `${think.open}\n`
  }

  get thinking(): boolean {
    return this.#state === 'reasoning'
  }

  push(text: string): AnswerPiece[] {
    return this.#read(text, false)
  }

  finish(): AnswerPiece[] {
    return this.#read('', true)
  }

  #read(text: string, last: boolean): AnswerPiece[] {
    this.#held += text
    this.#pieces = []
    while (this.#step(last)) {}
    return this.#pieces
  }

  /** @returns whether the state has changed, so that there may be more to read */
  #step(last: boolean): boolean {
    switch (this.#state) {
      case 'start':
        return this.#start(last)
      case 'reasoning':
        return this.#reasoning(last)
      case 'text':
        return this.#text(last)
      case 'opened':
        return this.#opened(last)
      case 'call':
        return this.#call(last)
      case 'called':
        return this.#called(last)
    }
  }

  /** The answer's first words decide what it is. */
  #start(last: boolean): boolean {
    const words = this.#held.trimStart()
    const mayCall = this.#options.tools.size > 0
    if (!this.#mayThink && !mayCall) return this.#go('text')
    if (words === '') return last && this.#go('text')
    if (this.#mayThink && words.startsWith(think.open)) {
      this.#held = words.slice(think.open.length)
      this.#mayThink = false
      this.#trim = true
      return this.#go('reasoning')
    }
    if (this.#mayThink && !last && think.open.startsWith(words)) return false
    this.#mayThink = false
    if (!mayCall || !words.startsWith('{')) return this.#go('text')
    this.#open(markups.bare, this.#held.slice(0, this.#held.length - words.length))
    this.#held = words
    return true
  }

  #reasoning(last: boolean): boolean {
    const end = this.#held.indexOf(think.close)
    if (end < 0) {
      this.#say('reasoning', last ? this.#held.length : this.#sure([think.close]))
      return false
    }
    this.#say('reasoning', this.#held.slice(0, end).trimEnd().length)
    this.#held = this.#held.slice(this.#held.indexOf(think.close) + think.close.length)
    this.#trim = true
    return this.#go('start')
  }

  #text(last: boolean): boolean {
    if (this.#options.tools.size === 0) {
      this.#say('text', this.#held.length)
      return false
    }
    const found = Object.values(markups)
      .map((markup) => ({ markup, at: markup.open === '' ? -1 : this.#held.indexOf(markup.open) }))
      .filter(({ at }) => at >= 0)
      .sort((a, b) => a.at - b.at)[0]
    if (found === undefined) {
      this.#say('text', last ? this.#held.length : this.#sure(Object.values(markups).map(({ open }) => open)))
      return false
    }
    const { markup, at } = found
    const before = this.#held.slice(0, at)
    const behind = this.#held.slice(at + markup.open.length)
    this.#say('text', before.trimEnd().length)
    this.#open(markup, before.slice(before.trimEnd().length) + markup.open)
    this.#held = behind
    return true
  }

  #open(markup: CallMarkup, text: string): void {
    this.#markup = markup
    this.#unsure = text
    this.#state = 'opened'
  }

  /** Behind the opening: what leads to the object, a name before it perhaps. */
  #opened(last: boolean): boolean {
    const lead = this.#markup.lead(this.#held, last, this.#options.tools)
    if (lead === undefined) return last && this.#giveBack()
    if (lead === null) return this.#giveBack()
    this.#unsure += this.#held.slice(0, lead.length)
    this.#held = this.#held.slice(lead.length)
    if (lead.call !== undefined) {
      this.#tell({ kind: 'call', call: this.#calls, name: lead.call.name })
      this.#tell({ kind: 'arguments', call: this.#calls++, text: lead.call.arguments })
      return this.#go('called')
    }
    // Behind a tag a name that nobody gave is the model's mistake, to be seen; without one it is an answer in JSON.
    const known = this.#markup === markups.bare ? (name: string) => this.#options.tools.has(name) : anyName
    this.#json = new JsonCall(known, lead.name)
    this.#announced = false
    return this.#go('call')
  }

  #call(last: boolean): boolean {
    const before = this.#held
    this.#held = this.#json.push(before)
    this.#unsure += before.slice(0, before.length - this.#held.length)
    const { name, complete, broken } = this.#json
    if (broken && name === undefined) return this.#giveBack()
    if (!this.#announced && name !== undefined) {
      this.#announced = true
      this.#tell({ kind: 'call', call: this.#calls, name })
    }
    const more = this.#announced ? this.#json.takeArguments() : ''
    if (more !== '') this.#tell({ kind: 'arguments', call: this.#calls, text: more })
    if (complete || broken) {
      this.#calls++
      return this.#go('called')
    }
    return last && !this.#announced && this.#giveBack()
  }

  /** Behind a call: another one, or text again. */
  #called(last: boolean): boolean {
    const next = this.#markup.next(this.#held, last)
    if (next === undefined) {
      if (last) this.#held = ''
      return false
    }
    this.#held = this.#held.slice(next.length)
    if (next.another) {
      this.#open(this.#markup, '')
      return true
    }
    this.#trim = true
    return this.#go('text')
  }

  /** It was no call: what was taken for one is text. */
  #giveBack(): boolean {
    this.#trim = false
    const text = this.#unsure
    this.#unsure = ''
    if (text !== '') this.#add('text', text)
    return this.#go('text')
  }

  #go(state: State): boolean {
    this.#state = state
    return true
  }

  /** Tells the first `length` characters of what is held. */
  #say(kind: 'text' | 'reasoning', length: number): void {
    const whole = this.#held.slice(0, length)
    this.#held = this.#held.slice(length)
    const text = this.#trim ? whole.trimStart() : whole
    if (text === '') return
    this.#trim = false
    this.#add(kind, text)
  }

  #add(kind: 'text' | 'reasoning', text: string): void {
    const before = this.#pieces.at(-1)
    if (before?.kind === kind) this.#pieces[this.#pieces.length - 1] = { kind, text: before.text + text }
    else this.#pieces.push({ kind, text })
  }

  #tell(piece: Extract<AnswerPiece, { call: number }>): void {
    if (piece.call < this.#options.mostCalls) this.#pieces.push(piece)
  }

  /** How much of what is held cannot be a part of these tags, or white space before one. */
  #sure(tags: readonly string[]): number {
    const tag = Math.max(...tags.map((tag) => partOf(tag, this.#held)))
    return this.#held.slice(0, this.#held.length - tag).trimEnd().length
  }
}
