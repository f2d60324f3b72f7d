import { byClient, type Costs } from '../fairness.ts'
import type { Prefixes } from './prefixes.ts'
import type { EngineRequest, Sequence } from './sequence.ts'

/** Cells reserved for the growth of every running sequence when another one is admitted. */
const spaceToGrow = 32

/** Maximum number of later requests that may be admitted before one that does not fit yet. */
const mostOvertakes = 8

/** A prefix that is this many cells longer than the cached one is worth waiting for while another sequence computes it. */
const worthWaiting = 32

/**
 * Cells of a client's requests that are found to wait for a prefix before its others wait for the next step: each is compared
 * with what runs, cell by cell.
 */
const mostFoundWaiting = 100_000

/** What admission depends on. The scheduler changes it between two steps of `admissions`. */
export interface AdmissionState {
  readonly maxSequences: number
  readonly cells: number
  readonly costs: Pick<Costs, 'of'>
  active(): readonly Sequence[]
  /** Different cells that sequences hold. */
  heldCells(sequences: readonly Sequence[]): number
  readonly prefixes: Pick<Prefixes, 'held' | 'promised' | 'running'>
}

export interface Admission {
  readonly request: EngineRequest
  /** Those of its sequences that get a slot now. */
  readonly sequences: readonly Sequence[]
  /** Sequences of others to preempt before. */
  readonly preempted: readonly Sequence[]
  /** Earlier requests that do not fit yet. */
  readonly overtaken: readonly EngineRequest[]
}

/**
 * Decides which requests are admitted, one after the other. Changes nothing: the caller carries out each admission before it
 * takes the next one. The client with the fewest slots is next, of several the one that has cost least, and its requests in
 * the order of the queue; a few may overtake one that does not fit. A client alone may take all slots and cells. When another
 * one comes, sequences are preempted until it has as many, or as few as it needs.
 * @param queue in the order of arrival
 */
export function* admissions(queue: readonly EngineRequest[], state: AdmissionState): Generator<Admission> {
  const left = byClient(
    queue.filter(({ paused }) => !paused),
    ({ client }) => client,
  )
  const overtaken: EngineRequest[] = []
  const foundWaiting = new Map<string, number>()
  while (overtaken.every((one) => one.overtaken < mostOvertakes)) {
    const request = takeNext(left, state)
    if (request === undefined) return
    const lacking = request.sequences.filter(({ ended, slot }) => !ended && slot < 0)
    const admission = placeFor(request, lacking, state)
    if (admission === undefined) {
      // Without a slot for the first in turn there is none for the others.
      if (state.active().length >= state.maxSequences || overtaken.push(request) > mostOvertakes) return
      continue
    }
    const path = pathOf(lacking)
    if (state.prefixes.promised(request, path) >= state.prefixes.held(request, path) + worthWaiting) {
      const found = (foundWaiting.get(request.client) ?? 0) + path.length
      foundWaiting.set(request.client, found)
      if (found > mostFoundWaiting) left.delete(request.client)
      continue
    }
    yield { request, ...admission, overtaken }
  }
}

/** Takes the first request of the client whose turn it is. */
function takeNext(left: Map<string, EngineRequest[]>, { active, costs }: AdmissionState): EngineRequest | undefined {
  const slots = countBy(active(), ({ request }) => request.client)
  const [[client, requests] = []] = [...left].toSorted(
    ([a], [b]) => (slots.get(a) ?? 0) - (slots.get(b) ?? 0) || costs.of(a) - costs.of(b),
  )
  if (client !== undefined && requests?.length === 1) left.delete(client)
  return requests?.shift()
}

/** Finds slots and cells for as many of a request's sequences as possible. @returns undefined if it has to wait */
function placeFor(
  request: EngineRequest,
  lacking: readonly Sequence[],
  state: AdmissionState,
): Pick<Admission, 'sequences' | 'preempted'> | undefined {
  const needs = lacking.map((sequence) => neededCells(sequence, state.prefixes))
  // With the cells that it would share: those who hold them count them too.
  const share = { slots: 1, cells: (lacking[0]?.cells.length ?? 0) + spaceToGrow }
  let active = state.active()
  const preempted: Sequence[] = []
  for (;;) {
    const slots = state.maxSequences - active.length
    let count = 0
    if (slots > 0)
      for (let free = state.cells - takenCells(active, state); count < Math.min(slots, needs.length); count++) {
        free -= needs[count] ?? 0
        if (free < 0) break
      }
    // Whoever takes more than its share from others gives them reason to take it back at once, and nobody comes further.
    if (count > 0) return { sequences: lacking.slice(0, preempted.length > 0 ? 1 : count), preempted }
    // The only request is always admitted: nothing will ever make more space.
    if (active.length === 0) return { sequences: lacking.slice(0, 1), preempted }
    const victim = victimFor(request.client, share, active, state)
    if (victim === undefined) return undefined
    preempted.push(victim)
    active = active.filter((sequence) => sequence !== victim)
  }
}

/**
 * What may be preempted for a client: a sequence whose reader has stopped to read, or the youngest of the client that has
 * the largest share of slots or cells, if that is more than the one that waits would have.
 */
function victimFor(
  client: string,
  need: { slots: number; cells: number },
  active: readonly Sequence[],
  state: AdmissionState,
): Sequence | undefined {
  const paused = active.findLast(({ request }) => request.paused)
  if (paused !== undefined) return paused
  const shareOf = (owner: string, more = { slots: 0, cells: 0 }): number => {
    const own = active.filter(({ request }) => request.client === owner)
    return Math.max((own.length + more.slots) / state.maxSequences, (state.heldCells(own) + more.cells) / state.cells)
  }
  const [largest] = [...new Set(active.map(({ request }) => request.client))]
    .filter((owner) => owner !== client)
    .map((owner) => ({ owner, share: shareOf(owner) }))
    .toSorted((a, b) => b.share - a.share)
  if (largest === undefined || largest.share <= shareOf(client, need)) return undefined
  return active.findLast(({ request }) => request.client === largest.owner)
}

/** Cells that running sequences hold or need soon. Stored prefixes do not count, since they are evicted when needed. */
const takenCells = (active: readonly Sequence[], state: AdmissionState): number =>
  active.reduce((sum, { remaining }) => sum + remaining + spaceToGrow, state.heldCells(active))

/**
 * Cells that a sequence needs. Those of a stored prefix count, since they cannot be evicted while it uses them. Without space
 * to grow a preempted one would be admitted and preempted again at once.
 */
const neededCells = ({ request, cells }: Sequence, prefixes: AdmissionState['prefixes']): number =>
  cells.length - prefixes.running(request, cells) + spaceToGrow

/** The prompt, with the answer so far of a sequence that was preempted. */
const pathOf = (sequences: readonly Sequence[]): ArrayLike<number> =>
  sequences.find(({ cells }) => cells.length > 0)?.cells ?? []

/**
 * Decides what leaves a full KV memory when no stored prefix is left to evict.
 * @param active sequences in the order of their admission, at least one
 * @returns the sequence to preempt, or the only one that runs, which must end because it fills the memory alone
 */
export function planPreemption(active: readonly Sequence[]): { preempt: Sequence } | { end: Sequence } {
  const youngest = active.at(-1)
  if (youngest === undefined) throw new Error('the KV memory is full while no sequence runs')
  if (active.length === 1) return { end: youngest }
  const slots = countBy(active, ({ request }) => request.client)
  const most = Math.max(...slots.values())
  const preempt =
    active.findLast(({ request }) => request.paused) ??
    active.findLast(({ request }) => slots.get(request.client) === most) ??
    youngest
  return { preempt }
}

function countBy<Item>(items: Iterable<Item>, keyOf: (item: Item) => string): Map<string, number> {
  const counts = new Map<string, number>()
  for (const item of items) counts.set(keyOf(item), (counts.get(keyOf(item)) ?? 0) + 1)
  return counts
}
