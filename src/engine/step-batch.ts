import type { Decoder } from '../language/index.ts'
import type { Batch } from '../native/index.ts'
import type { Sequence } from './sequence.ts'
import type { Chunk, StepPlan } from './step-plan.ts'

/** The rows of one sequence in a batch. */
interface Entry {
  sequence: Sequence
  /** Number of rows, each of which fills a cell. */
  count: number
  /** The row to sample the sequence's next token from, if it is in this batch. */
  row: number | undefined
  /** Cells of the prompt whose log probabilities are requested, and the rows that predict them. */
  predicted: { cell: number; row: number }[]
}

/** One batch of a step. */
export interface Pass {
  batch: Batch
  rows: number
  /** Whether the rows of a sequence attend to each other in both directions. */
  mutual: boolean
  entries: Entry[]
}

/**
 * Writes plans into the decoder's batches. The C API takes either tokens or embeddings in one batch. If the decoder can
 * look up token embeddings beforehand, a step with spans is one batch of embeddings. Otherwise, or if a span is mutual,
 * it is two batches, and tokens run first. A step whose prefill runs apart is written in two parts.
 */
export class StepBatch {
  readonly #tokens: Batch
  readonly #embeddings: Batch
  readonly #tokenEmbedding: Decoder['tokenEmbedding']

  constructor(decoder: Decoder) {
    this.#tokens = decoder.newTokenBatch()
    this.#embeddings = decoder.newEmbeddingBatch()
    this.#tokenEmbedding = decoder.tokenEmbedding
  }

  get capacity(): number {
    return this.#tokens.capacity
  }

  /** @returns the passes to run in this order; each is valid until the next is asked for */
  *write({ chunks, answering, apart, adapter }: StepPlan): Generator<Pass, void, void> {
    const groups = apart ? [chunks.slice(0, answering), chunks.slice(answering)] : [chunks]
    for (const group of groups) yield* this.#passes(group, adapter?.adapter.embeds === true)
  }

  /** @param apart whether tokens and embeddings cannot be in one batch */
  #passes(chunks: readonly Chunk[], apart: boolean): Pass[] {
    this.#tokens.clear()
    this.#embeddings.clear()
    const spans = chunks.flatMap(({ span }) => span ?? [])
    const mutual = spans.some((span) => span.mutual)
    const tokens: Pass = { batch: this.#tokens, rows: 0, mutual: false, entries: [] }
    const embeddings: Pass = { batch: this.#embeddings, rows: 0, mutual, entries: [] }
    const embed = spans.length > 0 && !mutual && !apart ? this.#tokenEmbedding : null
    for (const chunk of chunks) add(chunk.span === null && embed === null ? tokens : embeddings, chunk, embed)
    return [tokens, embeddings].filter(({ rows }) => rows > 0)
  }
}

function add(pass: Pass, { sequence, from, to, span }: Chunk, embed: Decoder['tokenEmbedding']): void {
  const { batch, entries } = pass
  const { slot, cells, request } = sequence
  const { positions } = request.prompt
  let row: number | undefined
  const predicted: Entry['predicted'] = []
  for (let at = from; at < to; at++) {
    const last = at === cells.length - 1
    const predicts = sequence.wantsLogprob(at + 1)
    const token = cells[at] as number
    const embedding = span === null ? embed?.(token) : embeddingOf(span, at, batch.width)
    const added =
      embedding === undefined
        ? batch.addToken(token, positions.time(at), slot, last || predicts)
        : batch.addEmbedding(embedding, positions.place(at), slot, last || predicts)
    if (last) row = added
    if (predicts) predicted.push({ cell: at + 1, row: added })
  }
  pass.rows += to - from
  entries.push({ sequence, count: to - from, row, predicted })
}

const embeddingOf = ({ start, embeddings }: NonNullable<Chunk['span']>, at: number, width: number) =>
  embeddings.subarray((at - start) * width, (at - start + 1) * width)
