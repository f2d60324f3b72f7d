import { setImmediate as nextTurn } from 'node:timers/promises'
import { cancelled, OrielError } from '../errors.ts'
import { Costs, crowdedOut } from '../fairness.ts'
import type { Embedder } from '../language/index.ts'
import type { Batch } from '../native/index.ts'
import type { Slices } from '../slices.ts'
import type { Cores } from './cores.ts'
import { type EmbeddedText, type EmbeddingState, type TextRequest, textsAtOnce } from './embedding.ts'
import type { EngineSettings } from './protocol.ts'

/** How the texts reach the process around them, or a test. */
export interface EmbeddingPort {
  answer(id: number, answer: EmbeddedText): void
  fail(id: number, error: unknown): void
}

export interface EmbeddingParts {
  embedder: Embedder
  cores: Cores
  settings: Pick<EngineSettings, 'chunkTokens' | 'maxQueue'>
  port: EmbeddingPort
}

/** Characters or tokens after which reading texts lets others have the event loop, and characters of a part: they take a few ms. */
const readAtOnce = 32_768
const partOfText = 4096

/** A text that waits or is being computed. */
interface Text {
  readonly id: number
  readonly request: TextRequest
  /** undefined: not read yet, or not all of it. */
  tokens: readonly number[] | undefined
  readonly reading: Slices<readonly number[]>
  /** Tokens that are computed. */
  filled: number
  /** Its sequence id; -1: it has none yet. */
  sequence: number
}

/** Rows of a text that a step computes. */
interface Chunk {
  readonly text: Text & { readonly tokens: readonly number[] }
  readonly to: number
}

/**
 * Embeds the texts of all requests to one model together, step by step. A step has rows of several texts, each a sequence of
 * its own, up to a limit: the attention of a larger one would take longer than it saves. Clients take turns. A text that must
 * be in one step may exceed the limit alone; others go on in the next.
 */
export class Embeddings {
  readonly #embedder: Embedder
  readonly #cores: Cores
  readonly #settings: Pick<EngineSettings, 'chunkTokens' | 'maxQueue'>
  readonly #port: EmbeddingPort
  readonly #costs = new Costs()
  readonly #batch: Batch
  /** In the order of their arrival. */
  readonly #texts = new Map<number, Text>()
  /** Running texts that are given up after the step. */
  readonly #cancelled = new Set<number>()
  /** Ids that are free, and cells of KV memory that no running text may need. */
  readonly #sequences: number[]
  #cells: number
  #running = 0
  #stepping = false

  constructor({ embedder, cores, settings, port }: EmbeddingParts) {
    this.#embedder = embedder
    this.#cores = cores
    this.#settings = settings
    this.#port = port
    this.#batch = embedder.newBatch()
    this.#sequences = Array.from({ length: embedder.sequences }, (_, sequence) => sequence)
    this.#cells = embedder.cells
  }

  get state(): EmbeddingState {
    return { running: this.#running, waiting: this.#texts.size - this.#running }
  }

  /** Embeds a text soon, or fails it through the port. */
  submit(id: number, request: TextRequest): void {
    const reading = tokensOf(request, this.#embedder)
    this.#texts.set(id, { id, request, reading, tokens: undefined, filled: 0, sequence: -1 })
    const most = this.#settings.maxQueue * textsAtOnce
    if (this.#texts.size > most) {
      const waiting = [...this.#texts.values()].filter(({ sequence }) => sequence < 0)
      const last = crowdedOut(request.client, waiting, (text) => text.request.client)?.id ?? id
      this.#fail(last, queueFull())
    }
    if (this.#stepping) return
    this.#stepping = true
    // Texts that have been sent together are computed together.
    setImmediate(() => void this.#run())
  }

  cancel(id: number): void {
    const text = this.#texts.get(id)
    if (text === undefined) return
    // Of a step that is running nothing may be forgotten.
    if (text.sequence < 0) this.#fail(id, cancelled())
    else this.#cancelled.add(id)
  }

  /** Steps until there is nothing to compute. */
  async #run(): Promise<void> {
    for (;;) {
      const { step, isUnread } = this.#plan()
      if (step.length > 0) await this.#step(step)
      // Messages come in here.
      else if (isUnread) await nextTurn()
      else break
    }
    this.#stepping = false
  }

  /**
   * Clients in turn. What is too long or empty fails here.
   * @returns `isUnread`: whether some were not looked at, because reading all would take long
   */
  #plan(): { step: Chunk[]; isUnread: boolean } {
    this.#sweep()
    let read = 0
    const { whole } = this.#embedder
    const limit = this.#settings.chunkTokens
    const step: Chunk[] = []
    let rows = 0
    let isFull = false
    for (const text of this.#costs.inTurn(this.#texts.values(), ({ request }) => request.client).flat()) {
      if (rows >= limit) break
      if (isFull && text.sequence < 0) continue
      let isRefused = false
      while (text.tokens === undefined && !isRefused) {
        if (read >= readAtOnce) return { step, isUnread: true }
        const { text: given } = text.request
        read += typeof given === 'string' ? Math.min(given.length, partOfText) : given.length
        isRefused = !this.#read(text)
      }
      if (!isRead(text)) continue
      const rest = text.tokens.length - text.filled
      const taken = whole ? rest : Math.min(rest, limit - rows)
      if (rows > 0 && rows + taken > limit) break
      if (text.sequence < 0 && !this.#admit(text)) isFull = true
      else {
        step.push({ text, to: text.filled + taken })
        rows += taken
      }
    }
    return { step, isUnread: false }
  }

  #sweep(): void {
    for (const id of this.#cancelled) if (this.#texts.has(id)) this.#fail(id, cancelled())
    this.#cancelled.clear()
  }

  /** Tokenizes a part of a text when its turn comes. @returns false if it is refused */
  #read(text: Text): boolean {
    const start = performance.now()
    try {
      const { done, value: tokens } = text.reading.next()
      if (done) text.tokens = tokens
      return true
    } catch (error) {
      this.#fail(text.id, error)
      return false
    } finally {
      this.#costs.charge(text.request.client, performance.now() - start)
    }
  }

  /** @returns false if there are no ids or cells left */
  #admit(text: Chunk['text']): boolean {
    if (text.tokens.length > this.#cells) return false
    const sequence = this.#sequences.pop()
    if (sequence === undefined) return false
    text.sequence = sequence
    this.#cells -= text.tokens.length
    this.#running++
    return true
  }

  async #step(step: readonly Chunk[]): Promise<void> {
    this.#batch.clear()
    let rows = 0
    for (const { text, to } of step)
      for (let at = text.filled; at < to; at++) {
        this.#batch.addToken(text.tokens[at] ?? 0, at, text.sequence, true)
        rows++
      }
    const threads = this.#cores.forDecoding(false, rows)
    this.#embedder.setThreads(threads)
    const start = performance.now()
    try {
      await this.#embedder.run(this.#batch)
    } catch (error) {
      for (const { text } of step) this.#fail(text.id, error)
      return
    }
    const ms = performance.now() - start
    this.#cores.decoded(threads, rows, ms)
    for (const { text, to } of step) {
      this.#costs.charge(text.request.client, (ms * (to - text.filled)) / rows)
      text.filled = to
      if (to === text.tokens.length) this.#finish(text)
    }
  }

  #finish(text: Chunk['text']): void {
    const embedding = this.#embedder.embedding(text.sequence)
    this.#forget(text)
    this.#port.answer(text.id, { tokens: text.tokens.length, embedding })
  }

  #fail(id: number, error: unknown): void {
    const text = this.#texts.get(id)
    if (text !== undefined) this.#forget(text)
    this.#port.fail(id, error)
  }

  #forget(text: Text): void {
    this.#texts.delete(text.id)
    if (text.sequence < 0) return
    this.#embedder.forget(text.sequence)
    this.#sequences.push(text.sequence)
    this.#cells += text.tokens?.length ?? 0
    this.#running--
  }
}

const isRead = (text: Text): text is Chunk['text'] => text.tokens !== undefined

/** @throws OrielError `invalid` */
function* tokensOf({ text, overflow }: TextRequest, { vocabulary, longest }: Embedder): Slices<readonly number[]> {
  const cuts = overflow === 'truncate'
  if (typeof text !== 'string') {
    const unknown = text.find((token) => token >= vocabulary.size)
    if (unknown !== undefined)
      throw wrong(`The token ${unknown} does not exist: this model has the tokens 0 to ${vocabulary.size - 1}.`)
    return fitting(text, [], longest, cuts)
  }
  // Tokenizing takes time, so a text that cannot fit is refused before it.
  const most = longest * vocabulary.longest
  if (!cuts && Buffer.byteLength(text) > most)
    throw tooLong(
      `This model embeds texts of at most ${longest} tokens with at most ${vocabulary.longest} bytes each, and the text has ${Buffer.byteLength(text)} bytes.`,
    )
  const { before, after } = vocabulary.around
  const tokens = [...before]
  for (const part of vocabulary.tokenizing(text.slice(0, most), false)) {
    for (const token of part) tokens.push(token)
    if (cuts && tokens.length >= longest) break
    yield
  }
  return fitting(tokens, after, longest, cuts)
}

/** @param after what follows the tokens, cut or not */
function fitting(tokens: readonly number[], after: readonly number[], longest: number, cuts: boolean) {
  const count = tokens.length + after.length
  if (count === 0) throw wrong('The text is empty.')
  if (count > longest && !cuts)
    throw tooLong(`This model embeds texts of at most ${longest} tokens, and the text has ${count}.`)
  return [...tokens.slice(0, longest - after.length), ...after]
}

const wrong = (message: string): OrielError =>
  new OrielError('invalid', message, { param: 'text', code: 'invalid_value' })

const tooLong = (message: string): OrielError =>
  new OrielError('invalid', message, { param: 'text', code: 'context_length_exceeded' })

const queueFull = (): OrielError =>
  new OrielError('overloaded', 'The queue is full: too many texts are waiting. Try again in a moment.', {
    code: 'queue_full',
    retryAfter: 1,
  })
