import type { AttachmentWork, EngineAttachment, PromptPiece } from '../../engine/index.ts'
import type { PartCount, PromptUsage, Tally } from '../backend.ts'

/** A file that was loaded: as pieces of a prompt, and as what is told of it. */
export interface PromptFile {
  readonly pieces: readonly PromptPiece[]
  /** How it shows in a prompt that is text. */
  readonly text: string
  /** @param told its pieces that the engine has counted */
  tokens(told: readonly Told[]): Partial<Tokens>
  counted(told: readonly Told[]): CountOf<AttachmentCount>
  answered(told: readonly Told[]): Partial<Answered>
}

/** A piece as the engine counted it, and what it did for it if the answer is over. */
export interface Told {
  readonly piece: EngineAttachment
  readonly tokens: number
  readonly work: AttachmentWork | undefined
}

export type Tokens = Required<Omit<PromptUsage, 'promptTokens' | 'cachedTokens'>>
export type Answered = Required<Pick<Tally, 'images' | 'videos' | 'audio'>>
export type AttachmentCount = Exclude<PartCount, { kind: 'text' }>
type CountOf<Count> = Count extends AttachmentCount ? Omit<Count, 'attachment'> : never
