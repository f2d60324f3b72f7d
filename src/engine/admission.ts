import type { Prefixes } from './prefixes.ts'
import type { EngineRequest, Sequence } from './sequence.ts'

/** Cells reserved for the growth of every running sequence when another one is admitted. */
const spaceToGrow = 32

/** Maximum number of later requests that may be admitted before one that does not fit yet. */
const mostOvertakes = 8

/** A prefix that is this many cells longer than the cached one is worth waiting for while another sequence computes it. */
const worthWaiting = 32

/** What admission depends on. The scheduler changes it between two admissions. */
export interface AdmissionState {
  readonly maxSequences: number
  readonly cells: number
  active(): readonly Sequence[]
  /** Different cells that running sequences hold. */
  heldCells(): number
  readonly prefixes: Pick<Prefixes, 'held' | 'promised'>
}

export interface Admission {
  readonly request: EngineRequest
  /** Its sequences that need a slot. */
  readonly sequences: readonly Sequence[]
  /** Earlier requests that do not fit yet. */
  readonly overtaken: readonly EngineRequest[]
}

/**
 * Decides which requests are admitted, one after the other. Changes nothing: the caller admits each request before it
 * takes the next one. Requests are admitted in the order of the queue, but a few may overtake one that does not fit.
 * @param queue in the order of arrival
 */
export function* admissions(queue: readonly EngineRequest[], state: AdmissionState): Generator<Admission> {
  const overtaken: EngineRequest[] = []
  let taken = takenCells(state)
  for (const request of queue) {
    const running = state.active().length
    if (running >= state.maxSequences || overtaken.some((one) => one.overtaken >= mostOvertakes)) return
    const sequences = request.sequences.filter(({ ended, slot }) => !ended && slot < 0)
    const fits =
      running + sequences.length <= state.maxSequences && taken + neededCells(sequences, state.prefixes) <= state.cells
    // The only request is always admitted: nothing will ever make more space.
    if (running > 0 && !fits) {
      if (overtaken.push(request) > mostOvertakes) return
      continue
    }
    const path = pathOf(sequences)
    if (state.prefixes.promised(request, path) >= state.prefixes.held(request, path) + worthWaiting) continue
    yield { request, sequences, overtaken }
    taken = takenCells(state)
  }
}

/** Cells that running sequences hold or need soon. Stored prefixes do not count, since they are evicted when needed. */
const takenCells = (state: AdmissionState): number =>
  state.active().reduce((sum, { remaining }) => sum + remaining + spaceToGrow, state.heldCells())

/** Cells that sequences need. Without space to grow a preempted sequence would be admitted and preempted again at once. */
const neededCells = (sequences: readonly Sequence[], prefixes: AdmissionState['prefixes']): number =>
  sequences.reduce((sum, { request, cells }) => sum + cells.length - prefixes.held(request, cells) + spaceToGrow, 0)

/** The prompt, with the answer so far of a sequence that was preempted. */
const pathOf = (sequences: readonly Sequence[]): ArrayLike<number> =>
  sequences.find(({ cells }) => cells.length > 0)?.cells ?? []

/**
 * Decides what leaves a full KV memory when no stored prefix is left to evict.
 * @param active sequences in the order of their admission, at least one
 * @returns sequences to preempt, or the only one that runs, which must end because it fills the memory alone
 */
export function planPreemption(active: readonly Sequence[]): { preempt: Sequence[] } | { end: Sequence } {
  const youngest = active.at(-1)
  if (youngest === undefined) throw new Error('the KV memory is full while no sequence runs')
  if (active.length === 1) return { end: youngest }
  const { request } = youngest
  // Until the prompt is computed, one sequence holds all cells and the request's others depend on it.
  return { preempt: request.firstToken === 0 ? request.sequences.filter(({ slot }) => slot >= 0) : [youngest] }
}
