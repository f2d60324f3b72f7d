import type { Size } from '../protocol.ts'

/** Containers round the times of frames, to a millisecond at most. In seconds. */
export const rounding = 0.001

/** What is needed of a file. */
export interface Needed {
  readonly kind: 'video' | 'audio'
  /** Whether its sound is needed. */
  readonly sound: boolean
}

/** A video or audio whose container has been read. Times are in seconds from the start of the file. */
export interface Recording {
  /** Of the track that is needed: the audio's, if a file is needed as audio. */
  readonly seconds: number
  /** Upright, with square pixels. Null if there is no video. */
  readonly picture: Size | null
  /** Of a list of images, whose times are of those alone. */
  readonly perSecond?: number
  /** Whether there is audio. */
  readonly hears: boolean
  /**
   * Yields the frame that is shown at each of the times, as `[height, width, 3]` of the size that is given.
   * @param times in ascending order
   */
  frames(times: readonly number[], size: Size): AsyncIterable<Uint8Array>
  /** The samples between two times, mono at `soundRate`. It may be shorter, if the audio is. */
  sound(start: number, end: number): Promise<Float32Array>
  close(): void
}
