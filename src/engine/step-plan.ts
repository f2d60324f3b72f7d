import type { Costs } from '../fairness.ts'
import type { Decoder, UsedAdapter } from '../language/index.ts'
import type { Allowance } from './chunk-size.ts'
import type { Sequence } from './sequence.ts'

/** Cells of one sequence, from `from` to before `to`: tokens, or a part of one span's embeddings. */
export interface Chunk {
  readonly sequence: Sequence
  /** Before the sequence's `filled` if some of its cells are computed again. */
  readonly from: number
  readonly to: number
  readonly span: { readonly start: number; readonly mutual: boolean; readonly embeddings: Float32Array } | null
}

/** What one step computes. */
export interface StepPlan {
  /** Those of running answers first. */
  readonly chunks: readonly Chunk[]
  /** Number of sequences whose next token is due. */
  readonly answering: number
  /** Whether prefill runs in a pass of its own, after the answers. */
  readonly apart: boolean
  /** What all of it is computed with; null: the model alone. */
  readonly adapter: UsedAdapter | null
}

export interface StepLimits {
  readonly rows: number
  /** Whether tokens and embeddings may be in one batch. */
  readonly mixes: boolean
  readonly costs: Pick<Costs, 'inTurn'>
  readonly fastestRows: Decoder['fastestRows']
  /** Maximum number of rows whose log probabilities are told: they are computed before the next step can run. */
  readonly told: number
  /**
   * Maximum number of prefill rows, by the number of sequences that answer, and how many prompts wait for each of them. Of
   * several clients each counts once: the many prompts of one do not slow the answers of another.
   */
  prefill(answering: number, promptsEach: number): Allowance
}

/**
 * Decides what the next step computes: the next token of every running answer, and prefill up to the limit. Changes
 * nothing.
 * @param active sequences in the order of their admission, all of which are computed with `adapter`
 * @param others sequences that are computed with others: prefill delays their answers too
 */
export function planStep(
  active: readonly Sequence[],
  limits: StepLimits,
  adapter: UsedAdapter | null = null,
  others: readonly Sequence[] = [],
): StepPlan {
  const isRunning = ({ request }: Sequence): boolean => !request.paused
  const running = active.filter(isRunning)
  const answering = running.filter(isAnswering)
  const delayed = [...answering, ...others.filter(isRunning).filter(isAnswering)]
  const chunks: Chunk[] = answering
    .slice(0, limits.rows)
    .map((sequence) => ({ sequence, from: sequence.filled, to: sequence.cells.length, span: null }))
  const prefilling = running.filter((sequence) => sequence.remaining > 0 && !isAnswering(sequence))
  if (prefilling.length === 0) return { chunks, answering: answering.length, apart: false, adapter }
  const { rows, apart } = limits.prefill(delayed.length, promptsEach(delayed, prefilling))
  // Embeddings of tokens that an adapter changes cannot be looked up.
  const mixes = limits.mixes && adapter?.adapter.embeds !== true
  planPrefill(chunks, prefilling, rows, { ...limits, mixes })
  const [only] = chunks
  if (only !== undefined && chunks.length === 1) chunks[0] = lengthened(only, rows, limits)
  return { chunks, answering: answering.length, apart: apart && answering.length > 0, adapter }
}

const isAnswering = ({ generated, remaining }: Sequence): boolean => generated > 0 && remaining === 1

function planPrefill(
  chunks: Chunk[],
  prefilling: readonly Sequence[],
  most: number,
  { rows, told, mixes, costs }: StepLimits,
): void {
  let left = Math.min(most, rows - chunks.length)
  let toldLeft = told
  for (const own of costs.inTurn(prefilling, clientOf)) {
    // The oldest keeps half of the rows, or short prompts that keep coming would delay a long one without end.
    const half = Math.ceil(left / 2)
    for (const sequence of inTurn(own)) {
      if (left <= 0) return
      const share = sequence === own[0] && own.length > 1 ? half : left
      const { tellsPrompt, toldCells } = sequence.request
      // Of cells that are computed again nothing is told.
      const most = tellsPrompt ? Math.min(share, Math.max(toldLeft, toldCells - 1 - sequence.filled)) : share
      const planned = prefill(chunks, sequence, most, mixes)
      left -= planned
      if (tellsPrompt) toldLeft -= planned
    }
  }
}

/** A chunk that is faster to compute with some of the cells before it, which are tokens that are there already. */
function lengthened(chunk: Chunk, most: number, { fastestRows }: StepLimits): Chunk {
  const { sequence, from, to, span } = chunk
  const { cells, generated, request } = sequence
  const rows = fastestRows(to - from, to)
  const start = to - rows
  if (rows === to - from || rows > most || start < 0 || span !== null || generated > 0) return chunk
  // Those before are computed without its adapter.
  if (start < request.plainCells && request.plainCells <= from) return chunk
  // Log probabilities of the prompt are told once.
  const stays = request.spec.promptLogprobs || cells.slice(start, from).some((cell) => cell < 0)
  return stays ? chunk : { ...chunk, from: start }
}

const clientOf = ({ request }: Sequence): string => request.client

function promptsEach(answering: readonly Sequence[], prefilling: readonly Sequence[]): number {
  const clients = { answering: new Set(answering.map(clientOf)), prefilling: new Set(prefilling.map(clientOf)) }
  const several = new Set([...clients.answering, ...clients.prefilling]).size > 1
  return several ? clients.prefilling.size / clients.answering.size : prefilling.length / answering.length
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
  const end = Math.min(sequence.cells.length, sequence.nextStop, at + most)
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
    // All embeddings of a step are computed in one batch, which is mutual or is not. A mutual span may exceed the limit if
    // it is the only one.
    const others = chunks.flatMap((chunk) => chunk.span ?? [])
    if (others.some((other) => other.mutual !== mutual || (mutual && span.end > end))) break
    const to = mutual ? span.end : Math.min(end, span.end)
    chunks.push({ sequence, from: at, to, span: { start, mutual, embeddings } })
    at = to
    // Of two batches the embeddings run second, so what follows the span waits for the next step.
    if (!mixes || mutual) break
  }
  return at - sequence.filled
}
