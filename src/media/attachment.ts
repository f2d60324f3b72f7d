import type { AttachmentKind } from '../attachments.ts'
import type { ImageFormat, RecordingFormat } from './format.ts'

/** An attachment as a request names it, or brings it. A document or an animation is several images. */
export type AttachmentSource = Selection & (Named | Uploaded | Ready)

interface Named {
  /** A `data:` URL with base64, an http(s) URL, or plain base64. */
  readonly url: string
  readonly bytes?: undefined
  readonly loaded?: undefined
}

interface Uploaded {
  /** The file itself. */
  readonly bytes: Uint8Array
  readonly url?: undefined
  readonly loaded?: undefined
}

interface Ready {
  /** Audio that was loaded before, such as a stretch of it. Its memory belongs to whoever loaded it. */
  readonly loaded: LoadedAudio
  readonly url?: undefined
  readonly bytes?: undefined
}

interface Selection {
  readonly kind: AttachmentKind
  /** The source's place in the request, for errors: `messages[0].content[1].image_url`. */
  readonly param: string
  /**
   * The pages of a document or the frames of an animation to load: `"1-3,7"`, `"all"`, or a number of them, spread evenly
   * from first to last. Default: every page of a PDF, and the first page or frame of any other file.
   */
  readonly pages?: string | number | undefined
  /** The part of a video or of audio to load, in seconds from its start. */
  readonly clip?: Clip | undefined
  /** The frames of a video to load. */
  readonly frames?: FrameChoice | undefined
}

export interface Clip {
  /** Default: the start of the file. */
  readonly start?: number | undefined
  /** Default: the end of the file. */
  readonly end?: number | undefined
}

/** Which frames of a video are taken. What is left out is the model's own sampling. */
interface FrameChoice {
  readonly most?: number | undefined
  readonly perSecond?: number | undefined
  /** In pixels. Larger frames are shrunk to it. */
  readonly longestEdge?: number | undefined
  /** Evenly over time, or where the picture changes most. */
  readonly choose?: 'even' | 'scenes' | undefined
}

/** What the model can use. */
export interface Needs {
  /** The longest edge of an image, in pixels; larger images are shrunk to twice that. */
  readonly longestEdge: number
  /** Whether the model hears: the sound of a video is loaded with its frames. */
  readonly sound?: boolean
  /** How the model samples a video that comes without a choice. @default one frame a second, 32 at most */
  readonly video?: Sampling
  /**
   * Called with the length of a sound when it is known, before the sound is decoded.
   * @returns false if its length is all that is needed: then it is not decoded, and must not be
   * @throws OrielError to refuse the sound
   */
  admitSound?(source: AttachmentSource, sound: Pick<Sound, 'seconds' | 'samples'>): Promise<boolean>
}

export interface Sampling {
  readonly perSecond: number
  readonly most: number
  /** As for images; the default is theirs. */
  readonly longestEdge?: number | undefined
}

/** What one source became. */
export type Loaded = LoadedImages | LoadedVideo | LoadedAudio

/** A file that was loaded as images. */
export function asImages(loaded: Loaded): LoadedImages {
  if (loaded.kind !== 'image') throw new Error(`a file of the kind ${loaded.kind} where only images are asked for`)
  return loaded
}

/** A file that was loaded. */
interface LoadedFile {
  readonly bytes: number
  /** Where the file came from: the request itself, a host, or the cache of fetched files. */
  readonly from: 'request' | 'network' | 'cache'
  /** Time to fetch the file, in ms; 0 for a file sent in the request. */
  readonly fetchMs: number
  /** Time to decode the file, the wait for a decoder included, in ms. It grows when it is decoded later. */
  readonly decodeMs: number
}

export interface LoadedImages extends LoadedFile {
  readonly kind: 'image'
  /** At least one, in the order of the selected pages. */
  readonly images: readonly Image[]
  readonly format: ImageFormat
  /** Pages or frames in the file, selected or not. */
  readonly pagesInFile: number
}

export interface LoadedVideo extends LoadedFile {
  readonly kind: 'video'
  /** At least one, in the order of time. */
  readonly frames: readonly Frame[]
  /** Length of the video, or of the clip of it, in seconds. */
  readonly seconds: number
  /** Null if the video has none, or the model does not hear. */
  readonly sound: Sound | null
  /** `frames`: a list of images. */
  readonly format: RecordingFormat | 'frames'
}

export interface LoadedAudio extends LoadedFile {
  readonly kind: 'audio'
  readonly sound: Sound
  readonly format: RecordingFormat | 'frames'
}

/** An image in the form that every model takes: upright, 8-bit sRGB, transparency blended onto white, no metadata. */
export interface Image {
  readonly width: number
  readonly height: number
  /**
   * `[height, width, 3]`; null if the file is known by its bytes, so that nobody had to decode it; empty after `letGo`
   */
  readonly rgb: Uint8Array | null
  /** SHA-256 of width, height and pixels: images with equal hashes are equal. */
  readonly hash: string
  /** Upright size in pixels before the image was shrunk; for a page of a PDF, the size it was rendered at. */
  readonly original: { readonly width: number; readonly height: number }
  /** The page or frame of the source, counted from 1. */
  readonly page: number
  /**
   * The pixels, whose file is decoded now if it has not been.
   * @throws OrielError with `param`; `cancelled` after `letGo`
   */
  decode(): Promise<Uint8Array>
  /** Frees the pixels: `rgb` is empty afterwards. The end of the request does the same. */
  letGo(): void
}

/** A frame of a video. Its `page` counts the frames that were loaded, from 1. */
export interface Frame extends Image {
  /** When it is shown, in seconds from the start of the file. */
  readonly time: number
}

/** Mono sound at 16,000 samples a second. */
export interface Sound {
  readonly seconds: number
  /** The number of samples. */
  readonly samples: number
  /** SHA-256 of the samples: sounds with equal hashes are equal. */
  readonly hash: string
  /**
   * The samples, from -1 to 1. They are decoded now if they have not been.
   * @throws OrielError with `param`; `cancelled` after `letGo`
   */
  decode(): Promise<Float32Array>
  /** Frees the samples. The end of the request does the same. */
  letGo(): void
}
