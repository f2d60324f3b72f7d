import type { Sequence } from './sequence.ts'

/** Cells of one sequence, from `from` to before `to`: tokens, or a part of one span's embeddings. */
export interface Chunk {
  readonly sequence: Sequence
  readonly from: number
  readonly to: number
  readonly span: { readonly start: number; readonly mutual: boolean; readonly embeddings: Float32Array } | null
}

/** What one step computes. */
export interface StepPlan {
  readonly chunks: readonly Chunk[]
  /** Number of sequences whose next token is due. */
  readonly answering: number
}

export interface StepLimits {
  readonly rows: number
  /** Whether tokens and embeddings may be in one batch. */
  readonly mixes: boolean
  /** Maximum number of prefill rows, by the number of sequences that answer and that prefill. */
  prefillRows(answering: number, prefilling: number): number
}

/**
 * Decides what the next step computes: the next token of every running answer, and prefill up to the limit. Changes
 * nothing.
 * @param active sequences in the order of their admission
 */
export function planStep(active: readonly Sequence[], limits: StepLimits): StepPlan {
  const answering = active.filter(isAnswering)
  const chunks: Chunk[] = answering
    .slice(0, limits.rows)
    .map((sequence) => ({ sequence, from: sequence.filled, to: sequence.cells.length, span: null }))
  const prefilling = active.filter((sequence) => sequence.remaining > 0 && !isAnswering(sequence))
  if (prefilling.length > 0) planPrefill(chunks, prefilling, answering.length, limits)
  return { chunks, answering: answering.length }
}

const isAnswering = ({ generated, remaining }: Sequence): boolean => generated > 0 && remaining === 1

function planPrefill(
  chunks: Chunk[],
  prefilling: readonly Sequence[],
  answering: number,
  { rows, mixes, prefillRows }: StepLimits,
): void {
  const most = prefillRows(answering, prefilling.length)
  let left = Math.min(most, rows - chunks.length)
  for (const sequence of inTurn(prefilling)) {
    // The oldest keeps half of the rows, or short prompts that keep coming would delay a long one without end.
    const share = sequence === prefilling[0] && prefilling.length > 1 ? Math.ceil(most / 2) : left
    left -= prefill(chunks, sequence, Math.min(share, left), mixes)
    if (left <= 0) break
  }
}

/** The oldest first, then by the number of cells that are left to compute. */
function inTurn(prefilling: readonly Sequence[]): Sequence[] {
  const [oldest, ...others] = prefilling
  if (oldest === undefined) return []
  return [oldest, ...others.sort((a, b) => a.remaining - b.remaining)]
}

/** @returns the number of cells that were planned, normally `most` at most */
function prefill(chunks: Chunk[], sequence: Sequence, most: number, mixes: boolean): number {
  const { prompt, embeddings: encoded } = sequence.request
  let at = sequence.filled
  const end = Math.min(sequence.cells.length, at + most)
  while (at < end) {
    const index = prompt.spans.findIndex((span) => span.end > at)
    const span = prompt.spans[index]
    if (span === undefined || at < span.start) {
      const to = Math.min(end, span?.start ?? end)
      chunks.push({ sequence, from: at, to, span: null })
      at = to
      continue
    }
    const embeddings = encoded[index]
    if (embeddings === undefined) break
    const { start, mutual } = span
    // A mutual span may exceed the limit if it is the only one of the step.
    if (mutual && span.end > end && chunks.some((chunk) => chunk.span !== null)) break
    const to = mutual ? span.end : Math.min(end, span.end)
    chunks.push({ sequence, from: at, to, span: { start, mutual, embeddings } })
    at = to
    // Of two batches the embeddings run second, so what follows the span waits for the next step.
    if (!mixes || mutual) break
  }
  return at - sequence.filled
}
