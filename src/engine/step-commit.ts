import type { Costs } from '../fairness.ts'
import type { Decoder, TokenSearch } from '../language/index.ts'
import type { GenerateEvent } from './generation.ts'
import type { KvMemory } from './kv-memory.ts'
import { answerToken } from './logprobs.ts'
import type { Sequence } from './sequence.ts'
import type { Pass } from './step-batch.ts'

export interface CommitPort {
  emit(id: number, event: GenerateEvent): void
  /** The sequence is complete, and its last event is emitted. */
  ended(sequence: Sequence): void
}

/** Takes in the outcome of a pass: advances sequences, samples their next tokens and emits the text. */
export class StepCommit {
  readonly #decoder: Pick<Decoder, 'vocabulary' | 'logits' | 'sample'>
  readonly #memory: Pick<KvMemory, 'extend' | 'share'>
  readonly #port: CommitPort
  /** Answers whose next token is being searched for, in turn. They take no part in steps meanwhile. */
  #searches: { sequence: Sequence; search: TokenSearch }[] = []

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
      for (const { cell, row } of predicted) this.#keepLogprob(sequence, cell, row)
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
    const { sequence, search } = next
    this.#attempt(sequence, () => {
      const token = search.run(until)
      if (token === undefined) this.#searches.push(next)
      else this.#take(sequence, token, () => search.logits)
    })
  }

  /** Ends a sequence with the text that was held back. */
  end(sequence: Sequence, reason: 'stop' | 'length'): void {
    const { request, choice, generated: completionTokens, text } = sequence
    this.#emitText(sequence, text.finish(), !text.stopped)
    this.#port.emit(request.id, { type: 'end', choice, reason, stop: text.stoppedBy, completionTokens })
    this.#port.ended(sequence)
  }

  #keepLogprob({ request, cells }: Sequence, cell: number, row: number): void {
    if (request.promptTokens === null) return
    const { vocabulary } = this.#decoder
    const top = request.spec.topLogprobs ?? 0
    request.promptTokens[cell] = answerToken(vocabulary, this.#decoder.logits(row), cells[cell] as number, top)
  }

  #answer(sequence: Sequence, row: number): void {
    const { request } = sequence
    if (request.firstToken === 0) {
      request.firstToken = performance.now()
      if (request.promptTokens !== null)
        this.#port.emit(request.id, { type: 'prompt_logprobs', tokens: request.promptTokens })
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
    const time = first.request.prompt.positions.time(length)
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
      this.#barEnds(sequence, row)
      const token = this.#decoder.sample(sequence.sampler, row)
      if (typeof token === 'object' && token !== null) this.#searches.push({ sequence, search: token })
      else this.#take(sequence, token, () => this.#decoder.logits(row))
    })
  }

  /** Until an answer has its least number of tokens, the logits of those that would end it are the lowest. */
  #barEnds({ generated, request: { spec } }: Sequence, row: number): void {
    if (generated >= spec.minTokens) return
    const logits = this.#decoder.logits(row)
    for (const token of [...this.#decoder.vocabulary.endTokens, ...spec.stopTokens])
      if (token < logits.length) logits[token] = -Infinity
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
    const { request } = sequence
    const { vocabulary } = this.#decoder
    const { ignoreEos, stopTokens, topLogprobs } = request.spec
    sequence.generated++
    if ((vocabulary.isEnd(token) && !ignoreEos) || stopTokens.includes(token)) {
      this.end(sequence, 'stop')
      return
    }
    sequence.cells.push(token)
    const bytes = vocabulary.bytes(token, request.shownTokens.has(token))
    if (topLogprobs !== null) sequence.heldTokens.push(answerToken(vocabulary, logits(), token, topLogprobs))
    this.#emitText(sequence, sequence.text.push(bytes))
    if (sequence.text.stopped) this.end(sequence, 'stop')
    else if (sequence.generated >= request.maxTokens) this.end(sequence, 'length')
  }

  /** @param last whether tokens without text are emitted too; those of a stop string are not */
  #emitText(sequence: Sequence, text: string, last = false): void {
    if (text === '' && !(last && sequence.heldTokens.length > 0)) return
    const { request, choice, generated, heldTokens: tokens } = sequence
    sequence.heldTokens = []
    this.#port.emit(request.id, { type: 'text', choice, text, tokens, generated })
  }
}
