/** What a model of an upstream can read. */
export interface Readable {
  readonly image: ReadableImages
  /** Null: its API has no place for it. */
  readonly video: ReadableVideos | null
  readonly audio: ReadableFiles | null
  /** Whether it fetches http(s) URLs itself. */
  readonly fetchesUrls: boolean
}

interface ReadableFiles {
  /** By the names of media: `png`, `mp4`. */
  readonly formats: readonly string[]
  /** Bytes of one file, before base64. */
  readonly mostBytes: number
  /** Whether the request can say which part of a recording is meant: its clip and its frames. */
  readonly selects: boolean
}

interface ReadableImages extends Omit<ReadableFiles, 'selects'> {
  /** Bytes of all images of a request. */
  readonly mostBytesTogether: number
  /** Larger ones are shrunk to it, in pixels. Null: it takes every size. */
  readonly longestEdge: number | null
}

interface ReadableVideos extends ReadableFiles {
  /** Whether it takes a list of frames, `data:video/jpeg;base64,<frame>,<frame>`. */
  readonly asFrames: boolean
}
