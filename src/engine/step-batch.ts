import type { Decoder } from '../language/index.ts'
import type { Batch } from '../native/index.ts'
import type { ChunkSize } from './chunk-size.ts'
import type { Sequence } from './sequence.ts'

/** What one sequence has in a batch: `count` rows, the last of which is `row` if a token shall be sampled from it. */
interface Entry {
  sequence: Sequence
  count: number
  row: number | undefined
  /** Rows that foretell tokens of the prompt which somebody wants to know of, and the cells of those. */
  foretold: { cell: number; row: number }[]
}

/** One batch of a step. */
export interface Part {
  batch: Batch
  rows: number
  /** Whether its rows see each other. */
  mutual: boolean
  entries: Entry[]
}

/**
 * The input of one step. The C API takes tokens or embeddings in one batch, so a step has one of each; tokens run first.
 * Every running answer's next token is always in; prefill fills what is left of the chunk.
 */
export class StepBatch {
  readonly #size: ChunkSize
  readonly #tokens: Batch
  readonly #embeddings: Batch

  constructor(decoder: Decoder, size: ChunkSize) {
    this.#size = size
    this.#tokens = decoder.newTokenBatch()
    this.#embeddings = decoder.newEmbeddingBatch()
  }

  /** @param active sequences in the order of their admission */
  fill(active: readonly Sequence[]): { tokens: Part; embeddings: Part; answering: number } {
    this.#tokens.clear()
    this.#embeddings.clear()
    const tokens: Part = { batch: this.#tokens, rows: 0, mutual: false, entries: [] }
    const embeddings: Part = { batch: this.#embeddings, rows: 0, mutual: false, entries: [] }
    const answering = active.filter((sequence) => sequence.generated > 0 && sequence.remaining === 1)
    for (const sequence of answering.slice(0, this.#tokens.capacity))
      this.#addTokens(tokens, sequence, sequence.filled, sequence.cells.length)

    const prefilling = active.filter((sequence) => sequence.remaining > 0 && !answering.includes(sequence))
    const chunk = this.#size.next(answering.length, prefilling.length)
    let budget = Math.min(chunk, this.#tokens.room)
    for (const sequence of inTurn(prefilling)) {
      // The oldest is sure of half a chunk, or short prompts that keep coming would hold a long one up for ever.
      const share = sequence === prefilling[0] && prefilling.length > 1 ? Math.ceil(chunk / 2) : budget
      budget -= this.#prefill(tokens, embeddings, sequence, Math.min(share, budget))
      if (budget <= 0) break
    }
    return { tokens, embeddings, answering: answering.length }
  }

  /** @returns cells that were taken in, `most` at most */
  #prefill(tokens: Part, embeddings: Part, sequence: Sequence, most: number): number {
    const { spans } = sequence.request.prompt
    let at = sequence.filled
    const end = Math.min(sequence.cells.length, at + most)
    while (at < end) {
      const index = spans.findIndex((span) => span.end > at)
      const span = spans[index]
      if (span === undefined || at < span.start) {
        const stop = Math.min(end, span?.start ?? end)
        this.#addTokens(tokens, sequence, at, stop)
        at = stop
        continue
      }
      const pixels = sequence.request.embeddings[index]
      if (pixels === undefined) break
      // What must be read at once may be more than a chunk, if it is alone.
      if (span.mutual && span.end > end && embeddings.rows > 0) break
      const stop = span.mutual ? span.end : Math.min(end, span.end)
      embeddings.mutual = span.mutual
      this.#addEmbeddings(embeddings, sequence, pixels, span.start, at, stop)
      at = stop
      // What follows must run after the picture, and embeddings are the last part of a step.
      break
    }
    return at - sequence.filled
  }

  #addTokens(part: Part, sequence: Sequence, from: number, to: number): void {
    let row: number | undefined
    const foretold: Entry['foretold'] = []
    for (let at = from; at < to; at++) {
      const wanted = at === sequence.cells.length - 1
      const foretells = sequence.foretells(at + 1)
      const added = part.batch.addToken(sequence.cells[at] as number, at, sequence.slot, wanted || foretells)
      if (wanted) row = added
      if (foretells) foretold.push({ cell: at + 1, row: added })
    }
    part.rows += to - from
    if (to > from) part.entries.push({ sequence, count: to - from, row, foretold })
  }

  #addEmbeddings(
    part: Part,
    sequence: Sequence,
    embeddings: Float32Array,
    start: number,
    from: number,
    to: number,
  ): void {
    const { width } = part.batch
    let row: number | undefined
    for (let at = from; at < to; at++) {
      const wanted = at === sequence.cells.length - 1
      const embedding = embeddings.subarray((at - start) * width, (at - start + 1) * width)
      const added = part.batch.addEmbedding(embedding, at, sequence.slot, wanted)
      if (wanted) row = added
    }
    part.rows += to - from
    if (to > from) part.entries.push({ sequence, count: to - from, row, foretold: [] })
  }
}

/** The oldest first, then whoever is nearest to the first token of an answer. */
function inTurn(prefilling: readonly Sequence[]): Sequence[] {
  const [oldest, ...others] = prefilling
  if (oldest === undefined) return []
  return [oldest, ...others.sort((a, b) => a.remaining - b.remaining)]
}
