import { toWire as encode, type WireError } from '../children/index.ts'
import type { EngineConfig } from '../config.ts'
import type { GpuSettings } from '../language/index.ts'
import type {
  EngineModel,
  EngineState,
  GenerateEvent,
  GenerateRequest,
  PictureInput,
  PromptCount,
  PromptPiece,
} from './generation.ts'

/** A picture without its pixels: they cross the border only when the engine has no embeddings of it yet. */
type PictureName = Omit<PictureInput, 'pixels'>

export type WirePiece = Exclude<PromptPiece, { kind: 'picture' }> | { kind: 'picture'; picture: PictureName }

export interface LoadOptions {
  /** The decoder's GGUF. */
  decoder: string
  /** The vision GGUF (mmproj), or null for a model without one. */
  projector: string | null
  name: string
  config: EngineConfig
  /** Nothing: the processor alone. */
  gpu?: GpuSettings
}

/** What the parent tells the engine's process. */
export type ToEngine =
  | { type: 'load'; options: LoadOptions }
  | { type: 'generate'; id: number; request: Omit<GenerateRequest, 'prompt'> & { prompt: readonly WirePiece[] } }
  | { type: 'pixels'; id: number; hash: string; rgb: Uint8Array }
  | { type: 'cancel'; id: number }
  | { type: 'count'; id: number; prompt: readonly WirePiece[] }
  | { type: 'state'; id: number }

/** What it tells the parent. Events of one step come in one message. */
export type FromEngine =
  /** The share of the decoder's weights that is loaded. */
  | { type: 'loading'; share: number }
  | { type: 'ready'; model: EngineModel }
  | { type: 'events'; events: [id: number, event: GenerateEvent][] }
  | { type: 'want'; id: number; hash: string }
  /** A request has all that it needs of a picture, whose pixels it will not want again. */
  | { type: 'encoded'; id: number; hash: string }
  | { type: 'counted'; id: number; count: PromptCount }
  | { type: 'state'; id: number; state: EngineState }
  | { type: 'failed'; id: number | null; error: WireError }

/** What the engine's process and its threads say of an error. */
export const toWire = (error: unknown): WireError => encode(error, 'The engine met an unexpected error.')
