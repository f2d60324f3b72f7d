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

/** Cells of one sequence from `from` to before `to`: tokens, or embeddings of the span that holds them. */
interface Piece {
  sequence: Sequence
  from: number
  to: number
  span: { start: number; mutual: boolean; embeddings: Float32Array } | null
}

/**
 * The input of one step: every running answer's next token, and prefill for what is left of the chunk. The C API takes
 * tokens or embeddings in one batch. Where tokens may be looked up beforehand a step with pictures is one batch of
 * embeddings; else, and where the places of a picture see each other, it is two batches, and tokens run first.
 */
export class StepBatch {
  readonly #size: ChunkSize
  readonly #tokens: Batch
  readonly #embeddings: Batch
  readonly #tokenEmbedding: Decoder['tokenEmbedding']

  constructor(decoder: Decoder, size: ChunkSize) {
    this.#size = size
    this.#tokens = decoder.newTokenBatch()
    this.#embeddings = decoder.newEmbeddingBatch()
    this.#tokenEmbedding = decoder.tokenEmbedding
  }

  /** @param active sequences in the order of their admission */
  fill(active: readonly Sequence[]): { tokens: Part; embeddings: Part; answering: number } {
    this.#tokens.clear()
    this.#embeddings.clear()
    const answering = active.filter((sequence) => sequence.generated > 0 && sequence.remaining === 1)
    const pieces: Piece[] = answering
      .slice(0, this.#tokens.capacity)
      .map((sequence) => ({ sequence, from: sequence.filled, to: sequence.cells.length, span: null }))

    const prefilling = active.filter((sequence) => sequence.remaining > 0 && !answering.includes(sequence))
    if (prefilling.length > 0) this.#prefillAll(pieces, prefilling, answering.length)
    return { ...this.#write(pieces), answering: answering.length }
  }

  #prefillAll(pieces: Piece[], prefilling: readonly Sequence[], answering: number): void {
    const chunk = this.#size.next(answering, prefilling.length)
    let budget = Math.min(chunk, this.#tokens.capacity - pieces.length)
    for (const sequence of inTurn(prefilling)) {
      // The oldest is sure of half a chunk, or short prompts that keep coming would hold a long one up for ever.
      const share = sequence === prefilling[0] && prefilling.length > 1 ? Math.ceil(chunk / 2) : budget
      budget -= this.#prefill(pieces, sequence, Math.min(share, budget))
      if (budget <= 0) break
    }
  }

  /** @returns cells that were taken in, `most` at most */
  #prefill(pieces: Piece[], sequence: Sequence, most: number): number {
    const { prompt, embeddings: encoded } = sequence.request
    let at = sequence.filled
    const end = Math.min(sequence.cells.length, at + most)
    while (at < end) {
      const index = prompt.spans.findIndex((span) => span.end > at)
      const span = prompt.spans[index]
      if (span === undefined || at < span.start) {
        const to = Math.min(end, span?.start ?? end)
        pieces.push({ sequence, from: at, to, span: null })
        at = to
        continue
      }
      const embeddings = encoded[index]
      if (embeddings === undefined) break
      const { start, mutual } = span
      // What must be read at once may be more than a chunk, if it is alone.
      if (mutual && span.end > end && pieces.some((piece) => piece.span !== null)) break
      const to = mutual ? span.end : Math.min(end, span.end)
      pieces.push({ sequence, from: at, to, span: { start, mutual, embeddings } })
      at = to
      // Of two batches embeddings are the second: what follows the picture must wait for the next step.
      if (this.#tokenEmbedding === null || mutual) break
    }
    return at - sequence.filled
  }

  #write(pieces: readonly Piece[]): { tokens: Part; embeddings: Part } {
    const spans = pieces.flatMap(({ span }) => span ?? [])
    const mutual = spans.some((span) => span.mutual)
    const tokens: Part = { batch: this.#tokens, rows: 0, mutual: false, entries: [] }
    const embeddings: Part = { batch: this.#embeddings, rows: 0, mutual, entries: [] }
    const embed = spans.length > 0 && !mutual ? this.#tokenEmbedding : null
    for (const piece of pieces) write(piece.span === null && embed === null ? tokens : embeddings, piece, embed)
    return { tokens, embeddings }
  }
}

function write(part: Part, { sequence, from, to, span }: Piece, embed: Decoder['tokenEmbedding']): void {
  const { batch, entries } = part
  const { slot, cells, request } = sequence
  const { positions } = request.prompt
  let row: number | undefined
  const foretold: Entry['foretold'] = []
  for (let at = from; at < to; at++) {
    const wanted = at === cells.length - 1
    const foretells = sequence.foretells(at + 1)
    const token = cells[at] as number
    const embedding = span === null ? embed?.(token) : embeddingOf(span, at, batch.width)
    const added =
      embedding === undefined
        ? batch.addToken(token, positions.time(at), slot, wanted || foretells)
        : batch.addEmbedding(embedding, positions.place(at), slot, wanted || foretells)
    if (wanted) row = added
    if (foretells) foretold.push({ cell: at + 1, row: added })
  }
  part.rows += to - from
  entries.push({ sequence, count: to - from, row, foretold })
}

const embeddingOf = ({ start, embeddings }: { start: number; embeddings: Float32Array }, at: number, width: number) =>
  embeddings.subarray((at - start) * width, (at - start + 1) * width)

/** The oldest first, then whoever is nearest to the first token of an answer. */
function inTurn(prefilling: readonly Sequence[]): Sequence[] {
  const [oldest, ...others] = prefilling
  if (oldest === undefined) return []
  return [oldest, ...others.sort((a, b) => a.remaining - b.remaining)]
}
