import { type CallMarkup, markups, partOf } from './call-markup.ts'
import { JsonCall } from './json-call.ts'
import type { Tool } from './messages.ts'

/** A piece of a model's answer. Calls are counted from 0; their arguments arrive as pieces of JSON. */
export type AnswerPiece =
  | { kind: 'text'; text: string }
  | { kind: 'reasoning'; text: string }
  | { kind: 'call'; call: number; name: string }
  | { kind: 'arguments'; call: number; text: string }

export interface ReaderOptions {
  /** Functions that the model may call, by name; if empty, its text is never read as a call. */
  tools: ReadonlyMap<string, Tool>
  /** Whether an answer follows a format unless it is calls, which have tags: what looks like one within it is none. */
  hasFormat?: boolean
  /** Maximum number of calls; further calls are left out. */
  mostCalls: number
  /** Whether thoughts are separated from the answer. */
  splitReasoning: boolean
  /** Whether the prompt has begun a thought that the answer continues. Unless thoughts are separated, its tag is repeated. */
  thinking: boolean
  /** Whether the client has that tag already, so that it is not repeated. */
  hasTag?: boolean
}

export const think = { open: '<think>', close: '</think>' } as const

/** Whether a prompt ends with the tag of a thought, which the model continues. */
export const beginsThought = (lastWords: string): boolean => lastWords.trimEnd().endsWith(think.open)

export const thoughtEnd: string = think.close

/** Some vocabularies have these as control tokens, which an answer contains only on request. */
export const thoughtTags: readonly string[] = Object.values(think)

/** Those that are looked for in a text. */
const tagged: readonly CallMarkup[] = Object.values(markups).filter(({ open }) => open !== '')

const anyName = (name: string): boolean => name !== ''

type State = 'start' | 'reasoning' | 'thought' | 'text' | 'opened' | 'call' | 'called'

/** @returns whether the state has changed, so that more may be read */
type Step = (last: boolean) => boolean

/** Reads an answer as it arrives. The pieces do not depend on where its text was cut. */
export class AnswerReader {
  readonly #options: ReaderOptions
  #state: State
  /** Whether a thought may still begin. */
  #mayThink: boolean
  /** Whether what follows may have calls. */
  #mayCall: boolean
  #held = ''
  /** Whether leading white space is dropped, as it is next to a thought or a call. */
  #trim = false
  #pieces: AnswerPiece[] = []
  #markup: CallMarkup = markups.bare
  /** The text of a possible call, until it is certain. */
  #unsure = ''
  #json = new JsonCall(anyName)
  #announced = false
  #calls = 0
  readonly #steps: Record<State, Step> = {
    start: (last) => this.#start(last),
    reasoning: (last) => this.#reasoning(last),
    thought: (last) => this.#thought(last),
    text: (last) => this.#text(last),
    opened: (last) => this.#opened(last),
    call: (last) => this.#call(last),
    called: (last) => this.#called(last),
  }

  constructor(options: ReaderOptions) {
    const { tools, splitReasoning, thinking, hasTag } = options
    this.#options = options
    this.#mayCall = tools.size > 0
    this.#state = 'start'
    if (thinking && splitReasoning) this.#state = 'reasoning'
    else if (thinking && tools.size > 0) this.#state = 'thought'
    this.#trim = this.#state === 'reasoning'
    this.#mayThink = splitReasoning && !thinking
    if (thinking && !splitReasoning && !hasTag) this.#held = `${think.open}\n`
  }

  /** Whether the next text is a thought, as far as is known. */
  get thinking(): boolean {
    return this.#state === 'reasoning'
  }

  /** @returns the pieces that are certain */
  push(text: string): AnswerPiece[] {
    return this.#read(text, false)
  }

  /** To be called after the last text. @returns what was held back */
  finish(): AnswerPiece[] {
    return this.#read('', true)
  }

  #read(text: string, last: boolean): AnswerPiece[] {
    this.#held += text
    this.#pieces = []
    while (this.#steps[this.#state](last)) {}
    return this.#pieces
  }

  /** The first words decide whether the answer begins with a thought, a call or text. */
  #start(last: boolean): boolean {
    const words = this.#held.trimStart()
    const mayCall = this.#mayCall
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
    const before = this.#held.slice(0, this.#held.length - words.length)
    if (mayCall && this.#options.hasFormat) return this.#startFormat(before, words, last)
    if (!mayCall || !words.startsWith('{')) return this.#go('text')
    this.#held = words
    return this.#open(markups.bare, before)
  }

  #startFormat(before: string, words: string, last: boolean): boolean {
    const found = tagged.find(({ open }) => words.startsWith(open))
    if (found === undefined && !last && tagged.some(({ open }) => open.startsWith(words))) return false
    if (found === undefined) {
      this.#mayCall = false
      return this.#go('text')
    }
    this.#held = words.slice(found.open.length)
    return this.#open(found, before + found.open)
  }

  #reasoning(last: boolean): boolean {
    const end = this.#held.indexOf(think.close)
    if (end < 0) {
      this.#emit('reasoning', last ? this.#held.length : this.#sure([think.close]))
      return false
    }
    this.#emit('reasoning', this.#held.slice(0, end).trimEnd().length)
    this.#held = this.#held.slice(this.#held.indexOf(think.close) + think.close.length)
    this.#trim = true
    return this.#go('start')
  }

  /** A thought that stays within the text. After it the answer begins, as it does where thoughts are separated. */
  #thought(last: boolean): boolean {
    const end = this.#held.indexOf(think.close)
    if (end < 0) {
      this.#emit('text', last ? this.#held.length : this.#sure([think.close]))
      return false
    }
    this.#emit('text', end + think.close.length)
    return this.#go('start')
  }

  #text(last: boolean): boolean {
    if (!this.#mayCall) {
      this.#emit('text', this.#held.length)
      return false
    }
    const found = tagged
      .map((markup) => ({ markup, at: this.#held.indexOf(markup.open) }))
      .filter(({ at }) => at >= 0)
      .sort((a, b) => a.at - b.at)[0]
    if (found === undefined) {
      this.#emit('text', last ? this.#held.length : this.#sure(tagged.map(({ open }) => open)))
      return false
    }
    const { markup, at } = found
    const before = this.#held.slice(0, at).trimEnd().length
    const opening = this.#held.slice(before, at + markup.open.length)
    this.#emit('text', before)
    this.#held = this.#held.slice(opening.length)
    return this.#open(markup, opening)
  }

  #open(markup: CallMarkup, text: string): boolean {
    this.#markup = markup
    this.#unsure = text
    return this.#go('opened')
  }

  /** After the opening: the text before the object, which may include a name. */
  #opened(last: boolean): boolean {
    const lead = this.#markup.lead(this.#held, last, this.#options.tools)
    if (lead === undefined) return last && this.#giveBack()
    if (lead === null) return this.#giveBack()
    this.#unsure += this.#held.slice(0, lead.length)
    this.#held = this.#held.slice(lead.length)
    if (lead.call !== undefined) {
      this.#emitCall({ kind: 'call', call: this.#calls, name: lead.call.name })
      this.#emitCall({ kind: 'arguments', call: this.#calls++, text: lead.call.arguments })
      return this.#go('called')
    }
    // After a tag, an unknown name is a mistake of the model, which the client sees. Without a tag, the text is JSON.
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
      this.#emitCall({ kind: 'call', call: this.#calls, name })
    }
    const more = this.#announced ? this.#json.takeArguments() : ''
    if (more !== '') this.#emitCall({ kind: 'arguments', call: this.#calls, text: more })
    if (complete || broken) {
      this.#calls++
      return this.#go('called')
    }
    return last && !this.#announced && this.#giveBack()
  }

  /** After a call: another call, or text. */
  #called(last: boolean): boolean {
    const next = this.#markup.next(this.#held, last)
    if (next === undefined) {
      if (last) this.#held = ''
      return false
    }
    this.#held = this.#held.slice(next.length)
    if (next.another) return this.#open(this.#markup, '')
    this.#trim = true
    return this.#go(this.#options.hasFormat ? 'start' : 'text')
  }

  /** The possible call was text. */
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

  /** Emits the first `length` characters of the held text. */
  #emit(kind: 'text' | 'reasoning', length: number): void {
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

  #emitCall(piece: Extract<AnswerPiece, { call: number }>): void {
    if (piece.call < this.#options.mostCalls) this.#pieces.push(piece)
  }

  /** Number of held characters that cannot be part of one of these tags, or white space before one. */
  #sure(tags: readonly string[]): number {
    const tag = Math.max(...tags.map((tag) => partOf(tag, this.#held)))
    return this.#held.slice(0, this.#held.length - tag).trimEnd().length
  }
}
