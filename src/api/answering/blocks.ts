import { type AnswerEnd, type AnswerToken, isCutOff, type Tally } from '../../deployments/index.ts'
import type { RunningAnswer } from './answer.ts'
import { newCallId } from './collect.ts'
import { returnedWhole } from './returned-whole.ts'
import { WaitingTokens } from './waiting-tokens.ts'

/** A part of an answer of one kind. A call's text is its arguments. */
export interface Block {
  kind: 'text' | 'reasoning' | 'call'
  text: string
  /** Of a call. */
  id: string
  name: string
  /** Of a text, if the request asks for log probabilities. */
  tokens: AnswerToken[]
  /** Whether it was not cut off. */
  complete: boolean
}

export type BlockEvent =
  | { type: 'open'; index: number; block: Block }
  | { type: 'delta'; index: number; block: Block; text: string; tokens: readonly AnswerToken[] }
  | { type: 'close'; index: number; block: Block }
  | BlocksEnd

export type BlocksEnd = Ended & Pick<Tally, 'timings' | 'images' | 'videos' | 'audio'>

type Ended = Omit<AnswerEnd, 'choice'>

/** An answer as consecutive blocks, for the protocols that use them. Those have one choice. */
export async function* blocksOf({ events }: RunningAnswer): AsyncIterable<BlockEvent> {
  let index = 0
  let open: Block | undefined
  let end: Ended | undefined
  const waiting = new WaitingTokens()
  for await (const event of events) {
    if (event.type === 'done') {
      const { completionTokens: _, reasoningTokens: __, ...told } = event.tally
      if (end !== undefined) yield { ...end, ...told }
      continue
    }
    if (event.type === 'end') {
      if (open !== undefined) yield { type: 'close', index, block: { ...open, complete: !isCutOff(event.reason) } }
      end = event
      continue
    }
    waiting.add(event.tokens)
    for (const piece of event.pieces) {
      const kind = piece.kind === 'arguments' ? 'call' : piece.kind
      if (open !== undefined && (open.kind !== kind || piece.kind === 'call')) {
        yield { type: 'close', index, block: { ...open, complete: true } }
        open = undefined
        index++
      }
      if (open === undefined) {
        const call = piece.kind === 'call' ? { id: newCallId(), name: piece.name } : { id: '', name: '' }
        open = { kind, text: '', tokens: [], complete: false, ...call }
        yield { type: 'open', index, block: open }
      }
      if (piece.kind === 'call') continue
      open.text += piece.text
      const tokens = waiting.ofText([piece])
      open.tokens.push(...tokens)
      yield { type: 'delta', index, block: open, text: piece.text, tokens }
    }
  }
}

export async function collectBlocks(answer: RunningAnswer) {
  const blocks: Block[] = []
  for await (const event of blocksOf({ ...answer, events: returnedWhole(answer.events) }))
    if (event.type === 'close') blocks.push(event.block)
    else if (event.type === 'end') return { blocks, end: event }
  throw new Error('an answer without an end')
}
