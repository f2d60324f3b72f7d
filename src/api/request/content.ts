import { z } from 'zod'
import type { Attachment, ContentPart, ImageBounds } from '../../deployments/index.ts'
import { attach } from '../answering/request.ts'

/** Messages of a conversation. A template takes microseconds for each. */
export const mostMessages = 4096

/** A part of a message's content. The part schemas below turn every form that a protocol has into one of these. */
type RequestPart = { kind: 'text'; text: string } | RequestAttachment

// A type and not an interface: the declarations of the request schemas repeat it.
export type RequestAttachment = Omit<Attachment, 'param' | 'url' | 'bytes' | 'loaded'> & {
  url: string
  /** Path of the field within the part, for errors: `image_url`. */
  field: string
}

export interface ImageOptions {
  detail?: Attachment['detail'] | null | undefined
  frames?: Attachment['pages'] | null
  pages?: Attachment['pages'] | null
  min_pixels?: number | null | undefined
  max_pixels?: number | null | undefined
  max_tokens?: number | null | undefined
}

/** Content as schemas give it: a string, or parts, of which one may stand for several. */
type RequestContent = string | readonly (RequestPart | readonly RequestPart[])[]

/** Content in its own order, with the attachments taken out. @param param path of the content, for errors */
export const readContent = (content: RequestContent, param: string, attachments: Attachment[]): ContentPart[] =>
  typeof content === 'string'
    ? [text(content)]
    : content.flatMap((part, index) => readPart(part, `${param}[${index}]`, attachments))

/** One item of content. @param param path of the item */
export const readPart = (
  part: RequestPart | readonly RequestPart[],
  param: string,
  attachments: Attachment[],
): ContentPart[] =>
  [part].flat().map((one) => {
    if (one.kind === 'text') return one
    const { field, ...attachment } = one
    return attach(attachments, { ...attachment, param: `${param}.${field}` })
  })

export const text = (words: string) => ({ kind: 'text', text: words }) as const

export const textPart = <Type extends string>(...types: Type[]) =>
  z.object({ type: z.literal(types), text: z.string() }).transform((part) => text(part.text))

/** Options of an attachment: its own, and for what it leaves open those that stand beside it, where many clients put them. */
export const orBeside = <Options extends object>(own: Options, beside: Partial<Options>): Options => ({
  ...beside,
  ...(Object.fromEntries(Object.entries(own).filter(([, value]) => value != null)) as Options),
})

/** `frames` and `pages` mean the same. */
export function image(url: string, field: string, options: ImageOptions = {}): RequestAttachment {
  const { detail, frames, pages } = options
  const bounds = boundsOf(options)
  return { kind: 'image', url, field, detail: detail ?? 'auto', pages: pages ?? frames ?? undefined, bounds }
}

const bound = z.int().min(1).nullish()

/** What the model may see of an image, as users of Qwen know it. */
export const imageBounds = {
  min_pixels: bound.describe(
    'Pixels of an image that the model sees at least, if it reads images in their own aspect.',
  ),
  max_pixels: bound.describe(
    'Pixels of an image that the model sees at most, unless the smallest size that it has is larger.',
  ),
  max_tokens: bound.describe('Tokens of an image in the prompt at most. A model that needs more refuses the request.'),
}

type BoundNames = Pick<ImageOptions, keyof typeof imageBounds>

/** @param fallback what holds if the image itself has no bound of a kind */
export function boundsOf(own: BoundNames, fallback: BoundNames = {}): ImageBounds | undefined {
  const leastPixels = own.min_pixels ?? fallback.min_pixels ?? undefined
  const mostPixels = own.max_pixels ?? fallback.max_pixels ?? undefined
  const mostTokens = own.max_tokens ?? fallback.max_tokens ?? undefined
  const isBound = [leastPixels, mostPixels, mostTokens].some((one) => one !== undefined)
  return isBound ? { leastPixels, mostPixels, mostTokens } : undefined
}

export const detail = z.enum(['low', 'high', 'auto']).nullish()

/** Characters of a choice of pages: with each file it is told to a decoder, and remembered. */
const mostPageText = 1000

const pageChoice = z
  .union([z.string().max(mostPageText), z.int().min(1)], {
    error: 'must be a string like "1-3,7" or "all", or a number of pages: 8',
  })
  .nullish()

/** Frames of an animation or pages of a document. Both names mean the same. */
const pageChoices = { frames: pageChoice, pages: pageChoice }

/** How an image is read, beside its `detail`. */
export const reading = { ...pageChoices, ...imageBounds }

export const dataOrUrl = z.string({ error: 'must be a string: a data:, http: or https: URL' })

export const refusalPart = z
  .object({ type: z.literal('refusal'), refusal: z.string() })
  .transform((part) => text(part.refusal))
