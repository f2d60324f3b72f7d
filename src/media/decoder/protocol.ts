import type { WireError } from '../../children/index.ts'
import type { Format } from '../format.ts'

/** The messages between the server and a decoder process, which has one file at a time. */

export interface Size {
  readonly width: number
  readonly height: number
}

export interface DecodeOptions {
  /** The selected pages or frames, as in `AttachmentSource`. */
  readonly pages: string | number | undefined
  /** The limit for selected pages or frames. */
  readonly maxPages: number
  /** The longest edge that the model can use, in pixels. Decoded images are at most twice as long. */
  readonly longestEdge: number
}

/** The payload of `file` is the file's bytes, or the whole `data:` URL as text; that of `pixels` is `[height, width, 3]`. */
export type ToDecoder =
  | { type: 'file'; encoding: 'bytes' | 'url'; options: DecodeOptions }
  /** Asks for a file of these pixels. */
  | { type: 'pixels'; size: Size }
  /** Answers a header: decode the file. */
  | { type: 'go' }
  /** Answers a header: forget the file. */
  | { type: 'drop' }

/** What is known about a file before anything is decoded. */
export interface FileHeader {
  readonly format: Format
  readonly bytes: number
  /** Pages or frames in the file, selected or not. */
  readonly pages: number
  /** Of each selected page, upright. */
  readonly sizes: readonly Size[]
}

/** An image as a file that a browser can show. */
export interface ImageFile {
  readonly format: 'png' | 'jpeg'
  readonly bytes: Uint8Array
}

/** An image without its pixels, which are the payload of its message. */
export interface ImageHead extends Size {
  readonly hash: string
  readonly original: Size
  /** Counted from 1. */
  readonly page: number
}

export type FromDecoder =
  | { type: 'ready' }
  | { type: 'header'; header: FileHeader }
  | { type: 'image'; head: ImageHead }
  /** The file of `pixels` is the payload. */
  | { type: 'written'; format: ImageFile['format'] }
  /** The decoder is free for the next file, unless it is worn: then it has to be replaced. */
  | { type: 'done'; worn: boolean }
  /** As `done`, after an error in the file. */
  | { type: 'failed'; error: WireError; worn: boolean }
