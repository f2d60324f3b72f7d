import { finished } from '../slices.ts'
import type { AnswerToken, GenerateEvent } from './generation.ts'
import { type Chance, chancesOf } from './logprobs.ts'
import { type PackedTokens, packTokens, unpackTokens } from './packed-tokens.ts'

/**
 * Log probabilities of a part of a prompt on the way between processes. As objects, whose bytes are copied one by one, those
 * of 2,000 tokens would take 100 ms.
 */
export interface PackedChances {
  /** `[cells, each]`: of each cell its token, then the likeliest; no tokens for a cell that was not asked for. */
  readonly tokens: PackedTokens
  /** `[cells, each]` */
  readonly logprobs: Float64Array
  readonly each: number
}

/** An event between processes. */
export type PackedEvent =
  | Exclude<GenerateEvent, { type: 'prompt_logprobs' }>
  | { type: 'prompt_logprobs'; from: number; chances: PackedChances }

/** A cell of a prompt, its token, and the logits that predict it. */
export interface PredictedCell {
  readonly cell: number
  readonly token: number
  /** `[vocabulary]` */
  readonly logits: Float32Array
}

/** @param cells at least one, in their order; there may be others between them. @param top alternatives of each */
export function packChances(
  cells: readonly PredictedCell[],
  top: number,
  bytesOf: (id: number) => Uint8Array,
): Extract<PackedEvent, { type: 'prompt_logprobs' }> {
  const [from, to] = [cells[0]?.cell ?? 0, cells.at(-1)?.cell ?? 0]
  const each = 1 + top
  const ids = new Int32Array((to - from + 1) * each).fill(-1)
  const logprobs = new Float64Array(ids.length)
  for (const { cell, token, logits } of cells) {
    const put = ({ id, logprob }: Chance, at: number): void => {
      const place = (cell - from) * each + at
      ids[place] = id
      logprobs[place] = logprob
    }
    chancesOf(logits, token, top).forEach(put)
  }
  return { type: 'prompt_logprobs', from, chances: { tokens: finished(packTokens(ids, bytesOf)), logprobs, each } }
}

export async function unpacked(event: PackedEvent): Promise<GenerateEvent> {
  if (event.type !== 'prompt_logprobs') return event
  const { logprobs, each, tokens } = event.chances
  const known = await unpackTokens(tokens)
  const told = known.map((token, at) => token && { ...token, logprob: logprobs[at] ?? 0 })
  const cells = Array.from({ length: told.length / each }, (_, cell): AnswerToken | null => {
    const [own, ...top] = told.slice(cell * each, (cell + 1) * each)
    return own ? { ...own, top: top.filter((one) => one !== null) } : null
  })
  return { type: 'prompt_logprobs', from: event.from, tokens: cells }
}
