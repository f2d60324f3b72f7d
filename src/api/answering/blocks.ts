import type { EndReason, Timings } from '../../deployments/index.ts'
import type { RunningAnswer } from './answer.ts'
import { newCallId } from './collect.ts'

/** A part of an answer of one kind. A call's text is its arguments. */
export interface Block {
  kind: 'text' | 'reasoning' | 'call'
  text: string
  /** Of a call. */
  id: string
  name: string
  /** Whether it was not cut off. */
  complete: boolean
}

export type BlockEvent =
  | { type: 'open'; index: number; block: Block }
  | { type: 'delta'; index: number; block: Block; text: string }
  | { type: 'close'; index: number; block: Block }
  | { type: 'end'; reason: EndReason; stop: string | null; completionTokens: number; reasoningTokens: number }

/**
 * An answer as consecutive blocks, for the protocols that use them. Those have one choice.
 * @param timed called with the engine's times after the last event
 */
export async function* blocksOf(
  { events }: RunningAnswer,
  timed: (timings: Timings) => void = () => {},
): AsyncIterable<BlockEvent> {
  let index = 0
  let open: Block | undefined
  for await (const event of events) {
    if (event.type === 'done') {
      timed(event.tally.timings)
      continue
    }
    if (event.type === 'end') {
      if (open !== undefined) yield { type: 'close', index, block: { ...open, complete: event.reason !== 'length' } }
      yield event
      continue
    }
    for (const piece of event.pieces) {
      const kind = piece.kind === 'arguments' ? 'call' : piece.kind
      if (open !== undefined && (open.kind !== kind || piece.kind === 'call')) {
        yield { type: 'close', index, block: { ...open, complete: true } }
        open = undefined
        index++
      }
      if (open === undefined) {
        open = {
          kind,
          text: '',
          complete: false,
          id: kind === 'call' ? newCallId() : '',
          name: piece.kind === 'call' ? piece.name : '',
        }
        yield { type: 'open', index, block: open }
      }
      if (piece.kind === 'call') continue
      open.text += piece.text
      yield { type: 'delta', index, block: open, text: piece.text }
    }
  }
}

export async function collectBlocks(answer: RunningAnswer) {
  const blocks: Block[] = []
  let end: Extract<BlockEvent, { type: 'end' }> | undefined
  let timings: Timings | undefined
  for await (const event of blocksOf(answer, (found) => {
    timings = found
  })) {
    if (event.type === 'close') blocks.push(event.block)
    else if (event.type === 'end') end = event
  }
  if (end === undefined) throw new Error('an answer without an end')
  return { blocks, end, timings }
}
