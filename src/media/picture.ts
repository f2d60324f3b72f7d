/** A picture as every model can take it: oriented, 8-bit sRGB, transparency laid on white. */
export interface Picture {
  readonly width: number
  readonly height: number
  /** `[height, width, 3]` */
  readonly rgb: Uint8Array
  /** Of pixels, width and height: equal hashes are equal pictures. */
  readonly hash: string
}

/** A picture as a request names it. */
export interface PictureSource {
  /** A `data:` URL, an http(s) URL, or plain base64. */
  url: string
  /** Where it stands in the request, for errors: `messages[0].content[1].image_url`. */
  param: string
}

/** Formats by their names in messages. */
export const formats = 'png, jpeg, gif, tiff, webp and avif'
