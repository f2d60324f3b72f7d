import type { Costs } from '../fairness.ts'
import type { Decoder, TokenSearch } from '../language/index.ts'
import type { KvMemory } from './kv-memory.ts'
import { answerToken } from './logprobs.ts'
import { type PackedEvent, packChances } from './packed-chances.ts'
import type { Sequence } from './sequence.ts'
import type { Pass } from './step-batch.ts'

export interface CommitPort {
  emit(id: number, event: PackedEvent): void
  /** The sequence is complete, and its last event is emitted. */
  ended(sequence: Sequence): void
}

/** A token that a sequence has, and of which nothing is told yet. */
interface Untold {
  readonly sequence: Sequence
  readonly token: number
  /** Those that it was sampled from, if log probabilities are requested: a copy, since the next step overwrites them. */
  readonly logits: Float32Array | null
}

/** Tokens that may not be sampled now, and their logits. */
type Barred = readonly { readonly token: number; readonly logit: number }[]

/**
 * Takes in the outcome of a pass. The next step waits only for what decides it: sequences advance, and their next tokens
 * are sampled. Text, log probabilities and events of answers that go on are made by `tell`, while the next step runs.
 */
export class StepCommit {
  readonly #decoder: Pick<Decoder, 'vocabulary' | 'logits' | 'sample'>
  readonly #memory: Pick<KvMemory, 'extend' | 'share'>
  readonly #port: CommitPort
  /** Answers whose next token is being searched for, in turn. They take no part in steps meanwhile. */
  #searches: { sequence: Sequence; search: TokenSearch; barred: Barred }[] = []
  readonly #untold: Untold[] = []
  /** Places for copies of logits. */
  readonly #spare: Float32Array[] = []

  constructor(
    decoder: Pick<Decoder, 'vocabulary' | 'logits' | 'sample'>,
    memory: Pick<KvMemory, 'extend' | 'share'>,
    port: CommitPort,
  ) {
    this.#decoder = decoder
    this.#memory = memory
    this.#port = port
  }

  /** To be called before the next decode, which overwrites the logits. */
  commit({ entries }: Pass): void {
    for (const { sequence, count, row, predicted } of entries) {
      sequence.filled += count
      this.#memory.extend(sequence.slot, count)
      this.#tellPrompt(sequence, predicted)
      if (row !== undefined) this.#answer(sequence, row)
    }
  }

  /**
   * Searches for the next tokens of answers that wait for them: clients take turns, and then their answers.
   * @param ms after which to stop
   * @returns whether there were any
   */
  search(ms: number, costs: Pick<Costs, 'inTurn' | 'charge'>): boolean {
    const until = performance.now() + ms
    this.#searches = costs
      .inTurn(this.#searches, ({ sequence }) => sequence.request.client)
      .flat()
      .filter(({ sequence }) => !sequence.ended && !sequence.request.over)
    const turns = [...this.#searches]
    for (const { sequence } of turns) {
      const start = performance.now()
      if (start >= until && turns[0]?.sequence !== sequence) break
      this.#searchNext(until)
      costs.charge(sequence.request.client, performance.now() - start)
    }
    return turns.length > 0
  }

  #searchNext(until: number): void {
    const next = this.#searches.shift()
    if (next === undefined) return
    const { sequence, search, barred } = next
    this.#attempt(sequence, () => {
      const token = search.run(until)
      if (token === undefined) this.#searches.push(next)
      else this.#take(sequence, token, () => restored(search.logits, barred))
    })
  }

  /** Emits the tokens that were sampled since the last call. To be called before anything else is said of their requests. */
  tell(): void {
    for (const one of this.#untold.splice(0)) this.#tell(one)
  }

  /** Ends a sequence with the text that was held back. Not to be called during a step. */
  end(sequence: Sequence, reason: 'stop' | 'length'): void {
    this.tell()
    const { request, choice, generated: completionTokens, text } = sequence
    this.#emitText(sequence, text.finish(), !text.stopped)
    this.#port.emit(request.id, { type: 'end', choice, reason, stop: text.stoppedBy, completionTokens })
    this.#port.ended(sequence)
  }

  #tellPrompt({ request, cells }: Sequence, predicted: Pass['entries'][number]['predicted']): void {
    const last = predicted.at(-1)
    if (last === undefined) return
    const { vocabulary } = this.#decoder
    const told = predicted.map(({ cell, row }) => ({
      ...{ cell, token: cells[cell] as number },
      logits: this.#decoder.logits(row),
    }))
    request.toldCells = last.cell + 1
    const bytesOf = (id: number): Uint8Array => vocabulary.bytes(id, true)
    this.#port.emit(request.id, packChances(told, request.spec.topLogprobs ?? 0, bytesOf))
  }

  #answer(sequence: Sequence, row: number): void {
    const { request } = sequence
    if (request.firstToken === 0) {
      request.firstToken = performance.now()
      request.toldCells = request.prompt.cells.length
      this.#fork(sequence, row)
    }
    this.#sample(sequence, row)
  }

  /**
   * The prompt is computed: the request's other sequences share it and sample their first token from the same logits. Those
   * without a slot wait for one, as if they had been preempted.
   */
  #fork(first: Sequence, row: number): void {
    const length = first.cells.length
    const time = first.request.prompt.positions.after(length)
    for (const sequence of first.request.sequences) {
      if (sequence === first) continue
      for (const cell of first.cells) sequence.cells.push(cell)
      if (sequence.slot < 0) continue
      this.#memory.share(first.slot, sequence.slot, length, time)
      sequence.filled = length
      this.#sample(sequence, row)
    }
  }

  #sample(sequence: Sequence, row: number): void {
    // A preempted sequence is computed again while its next token is still being searched for.
    if (this.#searches.some((one) => one.sequence === sequence)) return
    this.#attempt(sequence, () => {
      // Only the prompt was wanted, for its log probabilities.
      if (sequence.request.maxTokens === 0) return this.end(sequence, 'length')
      const barred = this.#barEnds(sequence, row)
      const token = this.#decoder.sample(sequence.sampler, row)
      if (barred.length > 0) restored(this.#decoder.logits(row), barred)
      if (typeof token === 'object' && token !== null) this.#searches.push({ sequence, search: token, barred })
      else this.#take(sequence, token, () => this.#decoder.logits(row))
    })
  }

  /** Until an answer has its least number of tokens, the logits of those that would end it are the lowest. */
  #barEnds({ generated, request: { spec } }: Sequence, row: number): Barred {
    if (generated >= spec.minTokens) return []
    const logits = this.#decoder.logits(row)
    const ends = new Set([...this.#decoder.vocabulary.endTokens, ...spec.stopTokens])
    const barred = [...ends].flatMap((token) => {
      const logit = logits[token]
      return logit === undefined ? [] : { token, logit }
    })
    for (const { token } of barred) logits[token] = -Infinity
    return barred
  }

  #attempt({ request }: Sequence, work: () => void): void {
    if (request.failure !== undefined) return
    try {
      work()
    } catch (error) {
      request.failure = error
    }
  }

  /** @param token null: none is allowed */
  #take(sequence: Sequence, token: number | null, logits: () => Float32Array): void {
    if (token === null) this.end(sequence, 'stop')
    else this.#append(sequence, token, logits)
  }

  #append(sequence: Sequence, token: number, logits: () => Float32Array): void {
    const { ignoreEos, stop, stopTokens, topLogprobs } = sequence.request.spec
    sequence.generated++
    if ((this.#decoder.vocabulary.isEnd(token) && !ignoreEos) || stopTokens.includes(token)) {
      this.end(sequence, 'stop')
      return
    }
    sequence.cells.push(token)
    const untold = { sequence, token, logits: topLogprobs === null ? null : this.#copy(logits()) }
    // An answer that ends leaves its slot, which must not happen during a step.
    const mayEnd = stop.length > 0 || sequence.generated >= sequence.request.maxTokens
    if (mayEnd) this.#tell(untold)
    else this.#untold.push(untold)
  }

  #tell({ sequence, token, logits }: Untold): void {
    const { request } = sequence
    const { vocabulary } = this.#decoder
    if (logits !== null) {
      sequence.heldTokens.push(answerToken(vocabulary, logits, token, request.spec.topLogprobs ?? 0))
      this.#spare.push(logits)
    }
    const mayStop = sequence.generated > request.spec.minTokens
    this.#emitText(sequence, sequence.text.push(vocabulary.bytes(token, request.shownTokens.has(token)), mayStop))
    if (sequence.text.stopped) this.end(sequence, 'stop')
    else if (sequence.generated >= request.maxTokens) this.end(sequence, 'length')
  }

  #copy(logits: Float32Array): Float32Array {
    const copy = this.#spare.pop() ?? new Float32Array(logits.length)
    copy.set(logits)
    return copy
  }

  /** @param last whether tokens without text are emitted too; those of a stop string are not */
  #emitText(sequence: Sequence, text: string, last = false): void {
    if (text === '' && !(last && sequence.heldTokens.length > 0)) return
    const { request, choice, generated, heldTokens: tokens } = sequence
    sequence.heldTokens = []
    this.#port.emit(request.id, { type: 'text', choice, text, tokens, generated })
  }
}

/** Logits as the model gave them. */
function restored(logits: Float32Array, barred: Barred): Float32Array {
  for (const { token, logit } of barred) logits[token] = logit
  return logits
}
