import { z } from 'zod'
import type { AnsweredImage } from '../../deployments/index.ts'

export const size = z.strictObject({ width: z.int(), height: z.int() })

export const cached = z
  .enum(['prefix', 'encoder'])
  .nullable()
  .describe('`encoder`: its embeddings were cached. `prefix`: the prompt was, up to its end. null: it was encoded.')

/** What every attachment has. */
export const work = {
  param: z.string().describe('Path of its part in the request.'),
  fetch_ms: z.number().describe('To fetch its file; 0 if the request has it.'),
  decode_ms: z.number().describe('To decode its file, with all that is selected of it and the wait for a decoder.'),
  encode_ms: z.number().describe('To encode it; 0 if it was cached.'),
}

/** An image, or a selected page or frame. */
export const picture = z.strictObject({
  param: work.param,
  page: z.int().describe('Page or frame of the file, counted from 1.'),
  width: z.int().describe('In pixels, upright, as it was sent; of a page of a PDF, as it was drawn.'),
  height: z.int(),
  seen: size.describe('The size at which the model sees it; if it is cut into tiles, of all tiles together.'),
  tiles: z.int().describe('Parts of it that are encoded by themselves.'),
  tokens: z.int().describe('In the prompt, with the marks around it.'),
})

/** What became of each image of an answered prompt. */
export const answeredPictures = z
  .array(picture.extend({ cached, fetch_ms: work.fetch_ms, decode_ms: work.decode_ms, encode_ms: work.encode_ms }))
  .describe('Each image, selected page and selected frame, in the order of the prompt, if the request includes them.')

export const picturesOf = (images: readonly AnsweredImage[]): z.output<typeof answeredPictures> =>
  images.map(({ fetchMs, decodeMs, encodeMs, ...image }) => ({
    ...image,
    fetch_ms: rounded(fetchMs),
    decode_ms: rounded(decodeMs),
    encode_ms: rounded(encodeMs),
  }))

export const rounded = (ms: number): number => Number(ms.toFixed(1))
