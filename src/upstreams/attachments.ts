import type { AttachmentKind } from '../attachments.ts'
import type { Ask } from '../deployments/index.ts'
import type { Media } from '../media/index.ts'
import type { Readable } from './readable.ts'

/** An attachment of an ask as its target reads it. */
export interface PreparedAttachment {
  readonly kind: AttachmentKind
  /** One; of a document or an animation, one for each selected page. Of a video as frames, one for each of them. */
  readonly files: readonly PreparedFile[]
  /** Whether it is a video whose files are its frames. */
  readonly asFrames: boolean
}

/** A file in the request to the target, or one that the target fetches itself. */
export type PreparedFile = SentFile | FetchedFile

export interface SentFile {
  /** Its media type: `image/png`. */
  readonly type: string
  /** Its base64, as ASCII: it is copied into the body, and never made a string (`body.ts`). */
  readonly base64: Buffer
  readonly url?: undefined
}

export interface FetchedFile {
  readonly url: string
  readonly base64?: undefined
}

/**
 * Fetches, checks and prepares all attachments of an ask, side by side, within the limits of media and in the client's turn.
 * What was prepared or fetched for the same signal is not prepared or fetched again: another target may be asked.
 * @param signal of the ask. The files stay in memory until it aborts.
 * @returns in the order of `ask.attachments`
 * @throws OrielError about the first attachment that fails; `param` is set
 */
export declare function prepare(
  ask: Pick<Ask, 'attachments' | 'client' | 'settings'>,
  readable: Readable,
  media: Media,
  signal: AbortSignal,
): Promise<PreparedAttachment[]>
