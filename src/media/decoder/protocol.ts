import type { WireError } from '../../children/index.ts'
import type { Format } from '../format.ts'

/** What the server and a decoder say to each other. A decoder has one file at a time. */

export interface Size {
  readonly width: number
  readonly height: number
}

/** What is to be done with a file. */
export interface DecodeOptions {
  /** Which pages or frames, as in `PictureSource`. */
  readonly pages: string | number | undefined
  /** Pages or frames that may be chosen, at most. */
  readonly mostPages: number
  /** Pixels of the longest edge that the model can use. What comes back is never longer than twice that. */
  readonly longestEdge: number
}

/** `file` carries the file's bytes as its payload, or the whole `data:` URL as text. */
export type ToDecoder =
  | { type: 'file'; encoding: 'bytes' | 'url'; options: DecodeOptions }
  /** The header's sizes are fine. */
  | { type: 'go' }
  | { type: 'drop' }

/** What is known of a file before anything is decoded. */
export interface FileHeader {
  readonly format: Format
  /** Bytes of the file. */
  readonly bytes: number
  /** Pages or frames in it, chosen or not. */
  readonly pages: number
  /** Of each chosen page, oriented. */
  readonly sizes: readonly Size[]
}

/** A picture without its pixels: those are the payload of its message. */
export interface PictureHead extends Size {
  readonly hash: string
  readonly original: Size
  /** Counted from 1. */
  readonly page: number
}

export type FromDecoder =
  | { type: 'ready' }
  | { type: 'header'; header: FileHeader }
  | { type: 'picture'; head: PictureHead }
  /** The decoder is free again, unless it is worn: then it should be replaced. */
  | { type: 'done'; worn: boolean }
  /** The same, and the file is at fault. */
  | { type: 'failed'; error: WireError; worn: boolean }
