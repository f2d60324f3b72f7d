import type { HeaderRequest } from '../../src/engine/generation.ts'
import { Positions } from '../../src/engine/positions.ts'
import type { AttachmentSpan, PromptCells } from '../../src/engine/prompt-cells.ts'
import { EngineRequest, type Sequence } from '../../src/engine/sequence.ts'
import type { TokenSampler, UsedAdapter } from '../../src/language/index.ts'
import { imageOf } from './kv-model.ts'
import { requestOf } from './pocket.ts'

/** A sequence in some state, without a model. */
export interface SequenceState {
  /** Cells of the prompt. */
  prompt: number
  /** Cells in the KV memory. */
  filled?: number
  /** Tokens of the answer. */
  generated?: number
  slot?: number
  n?: number
  spans?: readonly Pick<AttachmentSpan, 'start' | 'end' | 'mutual'>[]
  /** Whether the spans are encoded. */
  encoded?: boolean
  over?: Partial<HeaderRequest>
  adapter?: UsedAdapter | null
}

let id = 0

/** A request whose first sequence is in this state. */
export function requestIn({
  prompt,
  spans = [],
  encoded = false,
  n = 1,
  over = {},
  adapter = null,
  ...state
}: SequenceState) {
  const cells: PromptCells = {
    cells: Float64Array.from({ length: prompt }, (_, at) => at),
    spans: spans.map(
      (span) =>
        ({ ...span, attachment: imageOf('1', span.end - span.start) }) as Partial<AttachmentSpan> as AttachmentSpan,
    ),
    positions: new Positions([]),
    stops: [],
    attachmentTokens: [],
  }
  const samplers = Array.from({ length: n }, () => ({ free() {} }) as TokenSampler)
  const request = new EngineRequest(
    id++,
    { ...requestOf([], { n }), ...over } as HeaderRequest,
    cells,
    over.maxTokens ?? 100,
    samplers,
    new Set(),
    adapter,
  )
  if (encoded) for (const { start, end } of spans) request.embeddings.push(new Float32Array(end - start))
  const [first] = request.sequences
  if (first === undefined) throw new Error('a request without sequences')
  for (let token = 0; token < (state.generated ?? 0); token++) first.cells.push(token)
  Object.assign(first, { filled: state.filled ?? 0, generated: state.generated ?? 0, slot: state.slot ?? -1 })
  return { request, first }
}

export const sequenceIn = (state: SequenceState): Sequence => requestIn(state).first
