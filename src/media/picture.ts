import type { Format } from './format.ts'

/** A picture as every model can take it: oriented, 8-bit sRGB, transparency laid on white, no metadata left. */
export interface Picture {
  readonly width: number
  readonly height: number
  /** `[height, width, 3]`, or nothing once it was let go */
  readonly rgb: Uint8Array
  /** Of pixels, width and height: equal hashes are equal pictures. */
  readonly hash: string
  /** Pixels in the file, oriented, before anything was shrunk; what a PDF's page was rendered to. */
  readonly original: { readonly width: number; readonly height: number }
  /** Which page or frame of its source it is, counted from 1. */
  readonly page: number
  /** Forgets the pixels: `rgb` is empty from then on. The end of its request does so too. */
  letGo(): void
}

/** A picture, or a document of several, as a request names it. */
export interface PictureSource {
  /** A `data:` URL with base64, an http(s) URL, or plain base64. */
  readonly url: string
  /** Where it stands in the request, for errors: `messages[0].content[1].image_url`. */
  readonly param: string
  /**
   * Which pages of a document or frames of an animation are meant: `"1-3,7"`, `"all"`, or a number of them, taken evenly
   * from first to last. Without it: every page of a PDF, and the first page or frame of everything else.
   */
  readonly pages?: string | number | undefined
}

/** What became of one source. */
export interface Loaded {
  /** At least one, in the order of the pages. */
  readonly pictures: readonly Picture[]
  readonly format: Format
  /** Pages or frames in the file, whether they were meant or not. */
  readonly pagesInFile: number
  /** Bytes of the file. */
  readonly bytes: number
  /** Where its bytes came from: the request itself, a host, or what was kept of an earlier fetch. */
  readonly from: 'request' | 'network' | 'cache'
  /** Time until the bytes were there, in ms; 0 for what came with the request. */
  readonly fetchMs: number
  /** Time in the decoder, its queue included, in ms. */
  readonly decodeMs: number
}
