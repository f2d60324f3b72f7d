import type { EventQueue } from './event-queue.ts'
import type {
  EnginePhase,
  GenerateEvent,
  HeaderPiece,
  HeaderRequest,
  ImageAttachment,
  PromptPiece,
} from './generation.ts'

/** A request that the engine has, or will have when it runs again. */
export interface Pending {
  request: HeaderRequest
  queue: EventQueue<GenerateEvent>
  /** Whether another process may run it: it is only waiting, all payloads are here, and no process has died under it. */
  movable: boolean
  /** Whether the engine has stopped to compute it until it is read. */
  paused: boolean
  /** Whether the engine has begun to encode its attachments, and whether it has a place in the engine. */
  encoding: boolean
  admitted: boolean
  onPhase(phase: EnginePhase): void
  /** By the attachment's hash, payloads that the engine may still want. */
  payloads: Map<string, Payload[]>
}

/** The bytes of an attachment: an image's pixels. */
export type Payload = ImageAttachment['pixels']

export function phaseOf({ payloads, encoding, admitted }: Pending): EnginePhase {
  if (payloads.size > 0 && (encoding || admitted)) return 'encoding'
  return admitted ? 'prefill' : 'queued'
}

/** Separates payloads, which stay in this process until the engine wants them, from the rest of a prompt. */
export function separatePayloads(pieces: readonly PromptPiece[]): {
  prompt: HeaderPiece[]
  payloads: Map<string, Payload[]>
} {
  const payloads = new Map<string, Payload[]>()
  const prompt = pieces.map((piece): HeaderPiece => {
    if (piece.kind !== 'image') return piece
    const { pixels, ...header } = piece
    payloads.set(header.hash, [...(payloads.get(header.hash) ?? []), pixels])
    return header
  })
  return { prompt, payloads }
}

/** Unread text is joined into one event, so that a slow reader costs no more memory than the characters. */
export function mergeText(waiting: GenerateEvent, next: GenerateEvent): GenerateEvent | undefined {
  if (waiting.type !== 'text' || next.type !== 'text' || waiting.choice !== next.choice) return undefined
  return { ...next, text: waiting.text + next.text, tokens: [...waiting.tokens, ...next.tokens] }
}
