import type { WireError } from '../../children/index.ts'
import type { ImageFormat, RecordingFormat } from '../format.ts'

/** The messages between the server and a decoder process, which has one file at a time. */

/** Where the process has the socket that they go over. */
export const socketFd = 3

export interface Size {
  readonly width: number
  readonly height: number
}

/** What is wanted of a file. With the file's bytes, it decides what is decoded. */
export type Wanted = WantedImages | WantedVideo | WantedAudio

export interface WantedImages {
  readonly kind: 'image'
  /** The selected pages or frames, as in `AttachmentSource`. */
  readonly pages: string | number | null
  /** The longest edge that the model can use, in pixels. Decoded images are at most twice as long. */
  readonly longestEdge: number
}

/** A part of a recording, in seconds from its start. */
export interface Span {
  readonly start: number
  /** Null: to its end. */
  readonly end: number | null
}

export interface WantedVideo {
  readonly kind: 'video'
  readonly clip: Span
  readonly most: number
  /** Null: the request does not say it. */
  readonly perSecond: number | null
  /** Frames a second that the model is used to. */
  readonly usualPerSecond: number
  /** Frames are at most this long. */
  readonly longestEdge: number
  readonly choose: 'even' | 'scenes'
  readonly sound: boolean
  /** Of a video that was decoded before: the parts that are needed. Null: all. */
  readonly only: { readonly times: readonly number[]; readonly sound: boolean } | null
}

export interface WantedAudio {
  readonly kind: 'audio'
  readonly clip: Span
}

/** What another program reads, for which a file is wanted instead of pixels and samples. */
export interface WantedFile {
  /** Formats in which it reads a file as it came, by the names of messages. */
  readonly formats: readonly string[]
  readonly mostBytes: number
  /** Of an image, in pixels. Null: any. */
  readonly longestEdge: number | null
  /** Of a recording: whether all of it is wanted, or whatever is wanted of it is chosen there. */
  readonly whole: boolean
  /** Whether it takes the frames of a video as images. */
  readonly frames: boolean
}

export interface DecodeOptions {
  readonly wanted: Wanted
  /** If files are wanted. */
  readonly as?: WantedFile | undefined
  /** The limit for selected pages or frames, of a file that has them. */
  readonly mostPages: number
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
export type FileHeader = ImagesHeader | RecordingHeader

export interface ImagesHeader {
  readonly kind: 'image'
  readonly format: ImageFormat
  readonly bytes: number
  /** Pages or frames in the file, selected or not. */
  readonly pages: number
  /** Of each selected page, upright. */
  readonly sizes: readonly Size[]
}

export interface RecordingHeader {
  readonly kind: 'video' | 'audio'
  /** `frames`: a list of images. */
  readonly format: RecordingFormat | 'frames'
  readonly bytes: number
  /** Of what is decoded, in seconds. */
  readonly seconds: number
  /** Of the frames in the file. Null for audio. */
  readonly source: Size | null
  /** Of each frame that will be decoded. */
  readonly sizes: readonly Size[]
  /** Samples that will be decoded. */
  readonly samples: number
}

/** An image as a file that a browser can show. */
export interface ImageFile {
  readonly format: 'png' | 'jpeg'
  readonly bytes: Uint8Array
}

/** A part of a file, without its data, which is the payload of its message. */
export type PartHead = ImageHead | SoundHead

/** The data is `[height, width, 3]`. */
export interface ImageHead extends Size {
  readonly kind: 'image'
  readonly hash: string
  readonly original: Size
  /** Counted from 1. */
  readonly page: number
  /** Of a frame of a video: when it is shown, in seconds from the start of the file. */
  readonly time: number
}

/** The data is mono samples, float32. */
export interface SoundHead {
  readonly kind: 'sound'
  readonly hash: string
  readonly samples: number
}

/** A file that another program reads. The data is its base64, as ASCII. */
export interface FileHead {
  readonly kind: 'file'
  readonly format: string
}

/** Samples of a sound in a second. */
export const soundRate = 16_000

export type FromDecoder =
  | { type: 'ready' }
  | { type: 'header'; header: FileHeader }
  /** Something comes of a video or audio. */
  | { type: 'progress' }
  | { type: 'part'; head: PartHead | FileHead }
  /** The file of `pixels` is the payload. */
  | { type: 'written'; format: ImageFile['format'] }
  /** The decoder is free for the next file, unless it is worn: then it has to be replaced. */
  | { type: 'done'; worn: boolean }
  /** As `done`, after an error in the file. */
  | { type: 'failed'; error: WireError; worn: boolean }
