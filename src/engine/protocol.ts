import { toWire as encode, type WireError } from '../children/index.ts'
import type { EngineConfig } from '../config.ts'
import type { Choice, Modality } from '../encoders/index.ts'
import type { EmbedderPlan, GpuSettings } from '../language/index.ts'
import type { EmbeddedText, EmbeddingState, TextRequest } from './embedding.ts'
import type {
  Embeddings,
  EngineModel,
  EngineState,
  HeaderEncoding,
  HeaderFitting,
  HeaderPiece,
  HeaderRequest,
  PromptInputs,
  Runtimes,
} from './generation.ts'
import type { PackedEvent } from './packed-chances.ts'
import type { PackedCount } from './packed-tokens.ts'

/** How the engine of one model runs. Every number is decided by the caller: a 0 of the configuration has no meaning here. */
export interface EngineSettings extends Omit<EngineConfig, 'gpu' | 'contextTokens'> {
  /** Cells of KV memory, shared by all running sequences. */
  contextCells: number
  /** Of keys and values. */
  bytesPerCell: number
  /** Maximum number of sequences that are kept for their prefix when their answer is complete. */
  storedSequences: number
  /** Bytes of all adapters that are loaded at one time. */
  adapterBytes: number
  /** What the encoders take, and each one with an adapter in addition. */
  visionBytes: number
}

export interface LoadOptions {
  /** Path of the decoder's GGUF. */
  decoder: string
  /** Path of the GGUF of its encoders (mmproj), or null for a model that takes text only. */
  projector: string | null
  /** How a model embeds texts; omitted for a model that answers. */
  embedding?: EmbedderPlan
  name: string
  settings: EngineSettings
  /** Omitted when the CPU computes everything. */
  gpu?: GpuSettings
}

/** Messages from the parent to the engine process. */
export type ToEngine =
  | { type: 'load'; options: LoadOptions }
  | { type: 'generate'; id: number; request: HeaderRequest }
  /** The answer to `want`: pixels or samples; null if they have to be decoded first. */
  | { type: 'payload'; id: number; hash: string; bytes: Uint8Array | null }
  /** What was wanted in vain is decoded. */
  | { type: 'decoded'; id: number; hash: string }
  | { type: 'cancel'; id: number }
  /** The request's reader is far behind, or, with `paused` false, has caught up. */
  | { type: 'pause'; id: number; paused: boolean }
  | { type: 'count'; id: number; client: string; prompt: readonly HeaderPiece[] }
  /** Asks for the numbers of tokens only, of each prompt by itself. */
  | { type: 'measure'; id: number; client: string; prompts: readonly (readonly HeaderPiece[])[] }
  | { type: 'fit'; id: number; request: HeaderFitting }
  | { type: 'inputs'; id: number; client: string; prompt: readonly HeaderPiece[]; most: number }
  | { type: 'encode'; id: number; request: HeaderEncoding }
  | { type: 'embed'; id: number; request: TextRequest }
  /** Loads an adapter, and answers with null. */
  | { type: 'adapter'; id: number; key: string; file: string | null }
  /** No request uses the adapter any more. */
  | { type: 'drop'; id: number; key: string }
  | { type: 'state'; id: number }

/** Messages from the engine process to the parent. */
export type FromEngine =
  /** The share of all weights that is loaded, 0 to 1. */
  | { type: 'loading'; share: number }
  /** Requests are taken. If the model takes attachments, either `opened` or `unopened` follows. */
  | { type: 'ready'; model: EngineModel }
  /** The encoders are open. */
  | { type: 'opened'; runtimes: Runtimes }
  /** They could not be opened: requests with attachments fail. */
  | { type: 'unopened'; error: WireError }
  /** The adapter with this key is loaded now: if the process ends before its answer, that is why. */
  | { type: 'entering'; key: string }
  /** So many encoders with an adapter are open, or being opened. */
  | { type: 'adapted'; encoders: number }
  /** The forms of an encoder's matrices have been chosen, and it computes with them from now on. */
  | { type: 'calibrated'; choice: Choice; modality: Modality }
  /** They could not be chosen, and stay as they are. */
  | { type: 'uncalibrated'; error: WireError }
  /** All events of one step. */
  | { type: 'events'; events: [id: number, event: PackedEvent][] }
  /** Requests the payload of an attachment. */
  | { type: 'want'; id: number; hash: string }
  /** The request has all embeddings of an attachment and does not need its payload again. */
  | { type: 'encoded'; id: number; hash: string }
  /** The answer to `count`, `measure`, `fit`, `inputs`, `encode`, `embed`, `adapter` or `state`. */
  | {
      type: 'answer'
      id: number
      answer:
        | PackedCount
        | readonly number[]
        | PromptInputs
        | Embeddings
        | EmbeddedText
        | EngineState
        | EmbeddingState
        | null
    }
  /** A request failed, or, with `id` null, the load. */
  | { type: 'failed'; id: number | null; error: WireError }

export const toWire = (error: unknown): WireError => encode(error, 'The engine met an unexpected error.')
