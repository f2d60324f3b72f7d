import type { EventQueue } from '../event-queue.ts'
import type {
  AudioAttachment,
  EngineAttachment,
  EnginePhase,
  HeaderPiece,
  HeaderRequest,
  PromptPiece,
} from './generation.ts'
import type { PackedEvent } from './packed-chances.ts'

/** A request that the engine has, or will have when it runs again. */
export interface Pending {
  request: HeaderRequest
  queue: EventQueue<PackedEvent>
  /** Whether another process may run it: it is only waiting, all payloads are here, and no process has died under it. */
  movable: boolean
  /** Whether the engine has stopped to compute it until it is read. */
  paused: boolean
  /** Whether the engine has begun to encode its attachments, and whether it has a place in the engine. */
  encoding: boolean
  admitted: boolean
  onPhase(phase: EnginePhase): void
  /** By the attachment's hash, payloads that the engine may still want. */
  payloads: Payloads
}

export type Payloads = Map<string, Payload[]>

/** What an attachment is encoded from: an image's pixels, or the samples of a sound as 32-bit floats. */
export interface Payload {
  /** They are sent as they are, since joining them takes long. null if not all are decoded; empty when they are freed. */
  readonly parts: readonly Uint8Array[] | null
  /** @throws OrielError, which the request fails with */
  decode(): Promise<unknown>
  letGo(): void
}

function payloadOf(piece: EngineAttachment): Payload {
  if (piece.kind === 'audio') return new SoundPayload(piece.sound)
  const frames = piece.nextPixels === undefined ? [piece.pixels] : [piece.pixels, piece.nextPixels]
  return {
    get parts() {
      const parts = frames.flatMap(({ rgb }) => rgb ?? [])
      return parts.length === frames.length ? parts : null
    },
    decode: () => Promise.all(frames.map((frame) => frame.decode())),
    letGo: () => frames.forEach((frame) => void frame.letGo()),
  }
}

class SoundPayload implements Payload {
  readonly #sound: AudioAttachment['sound']
  parts: readonly Uint8Array[] | null = null

  constructor(sound: AudioAttachment['sound']) {
    this.#sound = sound
  }

  async decode(): Promise<void> {
    const { buffer, byteOffset, byteLength } = await this.#sound.decode()
    this.parts = [new Uint8Array(buffer, byteOffset, byteLength)]
  }

  letGo(): void {
    this.parts = [new Uint8Array()]
    this.#sound.letGo()
  }
}

export function phaseOf({ payloads, encoding, admitted }: Pending): EnginePhase {
  if (payloads.size > 0 && (encoding || admitted)) return 'encoding'
  return admitted ? 'prefill' : 'queued'
}

/** Separates payloads, which stay in this process until the engine wants them, from the rest of a prompt. */
export function separatePayloads(pieces: readonly PromptPiece[]): { prompt: HeaderPiece[]; payloads: Payloads } {
  const payloads: Payloads = new Map()
  const prompt = pieces.map((piece): HeaderPiece => {
    if (piece.kind === 'text' || piece.kind === 'tokens') return piece
    const { hash } = piece
    payloads.set(hash, [...(payloads.get(hash) ?? []), payloadOf(piece)])
    if (piece.kind === 'audio') return { kind: piece.kind, hash, samples: piece.samples }
    const { pixels: _, nextPixels: __, ...header } = piece
    return header
  })
  return { prompt, payloads }
}

/** Unread text is joined into one event, so that a slow reader costs no more memory than the characters. */
export function mergeText(waiting: PackedEvent, next: PackedEvent): PackedEvent | undefined {
  if (waiting.type !== 'text' || next.type !== 'text' || waiting.choice !== next.choice) return undefined
  return { ...next, text: waiting.text + next.text, tokens: [...waiting.tokens, ...next.tokens] }
}
